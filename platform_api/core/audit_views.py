"""The views by which the audit trail of a domain is read from outside, by the role `mlops_reader`.

`audit_trail` shows what an analysis needs: opaque ids, and of the details only words of ours (no reason or note that
somebody wrote). `audit_chain` shows all that was hashed, since a chain cannot be verified with less; who reads it keeps none
of it. `audit_open`: what is not sealed yet. `audit_anchors`: where the chain begins, once its old part has gone.
"""

LEAST_DAYS = 730
"""The database itself keeps the trail for so long, whatever the settings say: two years for who handles sensitive data (Korea,
Standard for Measures to Ensure the Safety of Personal Information, article 8)."""

VIEWS = """
CREATE VIEW audit_trail AS
SELECT position, at, actor, action, target,
    details->>'branch_id' AS branch_id, details->>'network' AS network,
    details->>'from' AS before, details->>'to' AS after,
    details->>'mode' AS mode, details->>'until' AS until,
    details->'before' AS roles_before, details->'after' AS roles_after
FROM audit_log;
CREATE VIEW audit_chain AS
SELECT s.number, s.position, s.hash, s.sealed_at, l.position AS row_position,
    l.at, l.actor, l.action, l.target, l.details, l.request_id
FROM audit_seal s LEFT JOIN audit_log l ON l.position = s.position;
CREATE VIEW audit_open AS
SELECT position, at, action, CASE WHEN action = 'audit.anchored' THEN details END AS details
FROM audit_log l WHERE NOT EXISTS (SELECT FROM audit_seal s WHERE s.position = l.position);
CREATE VIEW audit_anchors AS SELECT number, hash, anchored_at FROM audit_anchor;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlops_reader') THEN
        GRANT SELECT ON audit_trail, audit_chain, audit_open, audit_anchors TO mlops_reader;
    END IF;
END $$;
"""
