"""The tables as the release before versions were kept made them (commit 5c2696c)."""

#: The statements by dialect, as SQLAlchemy wrote them.
STATEMENTS = {
    "sqlite": [
        """
CREATE TABLE chatkit_attachments ( position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id
VARCHAR(255) NOT NULL, owner CHAR(64) NOT NULL, kit VARCHAR(255) NOT NULL, chat VARCHAR(255) NOT
NULL, visitor VARCHAR(520) NOT NULL, thread VARCHAR(255), created_at DATETIME NOT NULL, data
TEXT NOT NULL, CONSTRAINT uq_chatkit_attachments_id UNIQUE (id) )
        """,
        """
CREATE INDEX ix_chatkit_attachments_owner_thread ON chatkit_attachments (owner, thread)
        """,
        """
CREATE INDEX ix_chatkit_attachments_visitor ON chatkit_attachments (visitor)
        """,
        """
CREATE TABLE chatkit_threads ( position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id
VARCHAR(255) NOT NULL, owner CHAR(64) NOT NULL, kit VARCHAR(255) NOT NULL, chat VARCHAR(255) NOT
NULL, visitor VARCHAR(520) NOT NULL, created_at DATETIME NOT NULL, data TEXT NOT NULL,
CONSTRAINT uq_chatkit_threads_id UNIQUE (id) )
        """,
        """
CREATE INDEX ix_chatkit_threads_owner_position ON chatkit_threads (owner, position)
        """,
        """
CREATE INDEX ix_chatkit_threads_visitor ON chatkit_threads (visitor)
        """,
        """
CREATE TABLE chatkit_items ( position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, thread INTEGER
NOT NULL, id VARCHAR(255) NOT NULL, type VARCHAR(64) NOT NULL, created_at DATETIME NOT NULL,
data TEXT NOT NULL, CONSTRAINT uq_chatkit_items_thread_id UNIQUE (thread, id), CONSTRAINT
fk_chatkit_items_thread FOREIGN KEY(thread) REFERENCES chatkit_threads (position) ON DELETE
CASCADE )
        """,
        """
CREATE INDEX ix_chatkit_items_thread_position ON chatkit_items (thread, position)
        """,
    ],
    "postgresql": [
        """
CREATE TABLE chatkit_attachments ( position BIGSERIAL NOT NULL, id VARCHAR(255) NOT NULL, owner
CHAR(64) NOT NULL, kit VARCHAR(255) NOT NULL, chat VARCHAR(255) NOT NULL, visitor VARCHAR(520)
NOT NULL, thread VARCHAR(255), created_at TIMESTAMP WITH TIME ZONE NOT NULL, data TEXT NOT NULL,
CONSTRAINT pk_chatkit_attachments PRIMARY KEY (position), CONSTRAINT uq_chatkit_attachments_id
UNIQUE (id) )
        """,
        """
CREATE INDEX ix_chatkit_attachments_owner_thread ON chatkit_attachments (owner, thread)
        """,
        """
CREATE INDEX ix_chatkit_attachments_visitor ON chatkit_attachments (visitor)
        """,
        """
CREATE TABLE chatkit_threads ( position BIGSERIAL NOT NULL, id VARCHAR(255) NOT NULL, owner
CHAR(64) NOT NULL, kit VARCHAR(255) NOT NULL, chat VARCHAR(255) NOT NULL, visitor VARCHAR(520)
NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL, data TEXT NOT NULL, CONSTRAINT
pk_chatkit_threads PRIMARY KEY (position), CONSTRAINT uq_chatkit_threads_id UNIQUE (id) )
        """,
        """
CREATE INDEX ix_chatkit_threads_owner_position ON chatkit_threads (owner, position)
        """,
        """
CREATE INDEX ix_chatkit_threads_visitor ON chatkit_threads (visitor)
        """,
        """
CREATE TABLE chatkit_items ( position BIGSERIAL NOT NULL, thread BIGINT NOT NULL, id
VARCHAR(255) NOT NULL, type VARCHAR(64) NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL,
data TEXT NOT NULL, CONSTRAINT pk_chatkit_items PRIMARY KEY (position), CONSTRAINT
uq_chatkit_items_thread_id UNIQUE (thread, id), CONSTRAINT fk_chatkit_items_thread FOREIGN
KEY(thread) REFERENCES chatkit_threads (position) ON DELETE CASCADE )
        """,
        """
CREATE INDEX ix_chatkit_items_thread_position ON chatkit_items (thread, position)
        """,
    ],
    "mysql": [
        """
CREATE TABLE chatkit_attachments ( position BIGINT NOT NULL AUTO_INCREMENT, id VARCHAR(255)
CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, owner CHAR(64) CHARACTER SET ascii COLLATE
ascii_bin NOT NULL, kit VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, chat
VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, visitor VARCHAR(520) CHARACTER
SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, thread VARCHAR(255) CHARACTER SET utf8mb4 COLLATE
utf8mb4_bin, created_at DATETIME(6) NOT NULL, data LONGTEXT CHARACTER SET utf8mb4 COLLATE
utf8mb4_bin NOT NULL, CONSTRAINT pk_chatkit_attachments PRIMARY KEY (position), CONSTRAINT
uq_chatkit_attachments_id UNIQUE (id) )ENGINE=InnoDB CHARSET=utf8mb4
        """,
        """
CREATE INDEX ix_chatkit_attachments_owner_thread ON chatkit_attachments (owner, thread)
        """,
        """
CREATE INDEX ix_chatkit_attachments_visitor ON chatkit_attachments (visitor)
        """,
        """
CREATE TABLE chatkit_threads ( position BIGINT NOT NULL AUTO_INCREMENT, id VARCHAR(255)
CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, owner CHAR(64) CHARACTER SET ascii COLLATE
ascii_bin NOT NULL, kit VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, chat
VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, visitor VARCHAR(520) CHARACTER
SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, created_at DATETIME(6) NOT NULL, data LONGTEXT
CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, CONSTRAINT pk_chatkit_threads PRIMARY KEY
(position), CONSTRAINT uq_chatkit_threads_id UNIQUE (id) )ENGINE=InnoDB CHARSET=utf8mb4
        """,
        """
CREATE INDEX ix_chatkit_threads_owner_position ON chatkit_threads (owner, position)
        """,
        """
CREATE INDEX ix_chatkit_threads_visitor ON chatkit_threads (visitor)
        """,
        """
CREATE TABLE chatkit_items ( position BIGINT NOT NULL AUTO_INCREMENT, thread BIGINT NOT NULL, id
VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, type VARCHAR(64) NOT NULL,
created_at DATETIME(6) NOT NULL, data LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT
NULL, CONSTRAINT pk_chatkit_items PRIMARY KEY (position), CONSTRAINT uq_chatkit_items_thread_id
UNIQUE (thread, id), CONSTRAINT fk_chatkit_items_thread FOREIGN KEY(thread) REFERENCES
chatkit_threads (position) ON DELETE CASCADE )ENGINE=InnoDB CHARSET=utf8mb4
        """,
        """
CREATE INDEX ix_chatkit_items_thread_position ON chatkit_items (thread, position)
        """,
    ],
}
