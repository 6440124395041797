"""Logs in Elasticsearch: Filebeat reads them, Logstash hands them on, Kibana shows them.

What follows from the fields that the platform logs is made by code (`python -m infra.observability.elk`): the index template,
the saved searches. infra/checks/elk.py tries all of it.

Once, before Logstash begins (and again after a change; a data stream takes the new template at its next rollover):

    curl -X PUT $ES/_ilm/policy/smartfit-logs -H 'content-type: application/json' -d @elasticsearch/lifecycle.json
    curl -X PUT $ES/_index_template/smartfit-logs -H 'content-type: application/json' -d @elasticsearch/index-template.json
    curl -X POST "$KIBANA/api/saved_objects/_import?overwrite=true" -H 'kbn-xsrf: true' -F file=@kibana/smartfit.ndjson
"""
