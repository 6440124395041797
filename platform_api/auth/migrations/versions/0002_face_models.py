"""Face models in use, and the templates that a face has under each of them.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE face_model (
    version text CONSTRAINT pk_face_model PRIMARY KEY,
    stage text NOT NULL CHECK (stage IN ('candidate', 'shadow', 'canary', 'live', 'former', 'retired')),
    heard integer NOT NULL,
    live_heard integer NOT NULL,
    archive_key text,
    archive_sha256 text,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX uq_face_model_live ON face_model (stage) WHERE stage = 'live';

ALTER TABLE face_template ADD source_id uuid
    CONSTRAINT fk_face_template_source_id REFERENCES face_template ON DELETE CASCADE;
DROP INDEX uq_face_template_member_id_status;
CREATE UNIQUE INDEX uq_face_template_member_id_status ON face_template (member_id, status) WHERE source_id IS NULL;
CREATE UNIQUE INDEX uq_face_template_source_id_model_version ON face_template (source_id, model_version);
CREATE INDEX ix_face_template_member_id ON face_template (member_id);
CREATE INDEX ix_face_template_model_version ON face_template (model_version);

CREATE VIEW gallery_faces AS
SELECT t.member_id, t.id AS template_id, t.model_version, c.object_key, c.position
FROM face_template t
JOIN face_crop c ON c.template_id = t.id
WHERE t.status = 'enrolled' AND t.source_id IS NULL
  AND (SELECT granted FROM consent WHERE member_id = t.member_id AND kind = 'face' ORDER BY id DESC LIMIT 1);

DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlops_reader') THEN
        GRANT SELECT ON gallery_faces TO mlops_reader;
    END IF;
END $$;
"""

DOWN = """
DROP VIEW gallery_faces;
DELETE FROM face_template WHERE source_id IS NOT NULL;
DROP INDEX ix_face_template_model_version;
DROP INDEX ix_face_template_member_id;
DROP INDEX uq_face_template_source_id_model_version;
DROP INDEX uq_face_template_member_id_status;
ALTER TABLE face_template DROP source_id;
CREATE UNIQUE INDEX uq_face_template_member_id_status ON face_template (member_id, status);
DROP TABLE face_model;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
