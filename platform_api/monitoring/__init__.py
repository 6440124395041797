"""The monitoring domain: is each item of a gym's equipment alive and well, and who has to be told when it is not?

Three kinds of process share its database. The REST API keeps the registry and shows states and faults. The heartbeat
server (`heartbeat`) takes signed lines from the equipment by TCP. The prober (`prober`) asks each item for an echo every
ten seconds. Whatever one of them observes goes through one pure state machine (`states`) inside one transaction
(`recording`), so a fault is one row, one event and one alert, whoever noticed it.
"""
