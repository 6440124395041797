"""Faces out of frames in which a member was known, and the training view that shows them beside the enrolled ones.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE face_frame (
    id uuid CONSTRAINT pk_face_frame PRIMARY KEY,
    member_id uuid NOT NULL CONSTRAINT fk_face_frame_member_id_member REFERENCES member ON DELETE CASCADE,
    stranger_id uuid NOT NULL CONSTRAINT uq_face_frame_stranger_id UNIQUE,
    object_key text NOT NULL CONSTRAINT uq_face_frame_object_key UNIQUE,
    at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ix_face_frame_member_id ON face_frame (member_id);
CREATE INDEX ix_face_frame_created_at ON face_frame (created_at);
"""

AGREED = """
m.status = 'active'
AND (SELECT granted FROM consent WHERE member_id = m.id AND kind = 'face' ORDER BY id DESC LIMIT 1)
AND (SELECT granted FROM consent WHERE member_id = m.id AND kind = 'face_training' ORDER BY id DESC LIMIT 1)
"""

ENROLLED = """
SELECT t.member_id, t.id AS template_id, t.model_version, c.object_key, c.position, c.quality, c.created_at {more}
FROM face_template t
JOIN face_crop c ON c.template_id = t.id
JOIN member m ON m.id = t.member_id
WHERE t.status = 'enrolled' AND {agreed}
"""

# In place of the enrolment stands the frame itself, which is a set of one; no model decided on it.
FRAMES = """
SELECT f.member_id, f.id, NULL::text, f.object_key, 0, '{{}}'::jsonb, f.created_at, 'gate'
FROM face_frame f
JOIN member m ON m.id = f.member_id
WHERE EXISTS (SELECT FROM face_template WHERE member_id = m.id AND status = 'enrolled') AND {agreed}
"""

GRANT = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlops_reader') THEN
        GRANT SELECT ON training_faces TO mlops_reader;
    END IF;
END $$;
"""


def upgrade() -> None:
    op.execute(TABLE)
    enrolled = ENROLLED.format(more=", 'enrolment' AS source", agreed=AGREED)
    op.execute(f"CREATE OR REPLACE VIEW training_faces AS {enrolled} UNION ALL {FRAMES.format(agreed=AGREED)}")
    op.execute(GRANT)


def downgrade() -> None:
    op.execute("DROP VIEW training_faces")
    op.execute(f"CREATE VIEW training_faces AS {ENROLLED.format(more='', agreed=AGREED)}")
    op.execute(GRANT)
    op.execute("DROP TABLE face_frame")
