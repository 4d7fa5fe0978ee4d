"""The database that scripts/bench/migration.py migrates: its tables and its rows."""

_ROWS_A_USER = 20
TABLES = """
    CREATE TABLE users (id {id}, username VARCHAR(64) NOT NULL, email VARCHAR(120) NOT NULL,
        password_hash VARCHAR(256) NOT NULL, role VARCHAR(9), is_active BOOLEAN,
        created_at {time}, last_login {time});
    CREATE UNIQUE INDEX ix_users_username ON users (username);
    CREATE UNIQUE INDEX ix_users_email ON users (email);
    CREATE TABLE platform_connections (id {id}, user_id INTEGER NOT NULL REFERENCES users (id),
        name VARCHAR(100) NOT NULL, platform_type VARCHAR(50) NOT NULL,
        instance_url VARCHAR(500) NOT NULL, username VARCHAR(200), access_token TEXT NOT NULL,
        client_key TEXT, client_secret TEXT, is_active BOOLEAN, is_default BOOLEAN,
        created_at {time}, updated_at {time}, last_used {time},
        CONSTRAINT uq_user_platform_name UNIQUE (user_id, name),
        CONSTRAINT uq_user_instance_username UNIQUE (user_id, instance_url, username));
    CREATE TABLE user_sessions (id {id}, session_id VARCHAR(255) NOT NULL,
        user_id INTEGER NOT NULL REFERENCES users (id),
        active_platform_id INTEGER REFERENCES platform_connections (id),
        created_at {time} NOT NULL, updated_at {time} NOT NULL, user_agent TEXT,
        ip_address VARCHAR(45));
    CREATE UNIQUE INDEX ix_user_sessions_session_id ON user_sessions (session_id)
"""
_AGENT = "Mozilla/5.0 (X11, Linux x86_64, rv:130.0) Gecko/20100101 Firefox/130.0"
SQLITE_ROWS = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {users})
        INSERT INTO users SELECT i, 'user' || i, 'user' || i || '@example.com', 'scrypt:x',
            'VIEWER', 1, '2024-03-01 08:30:00.000001', NULL FROM n;
    INSERT INTO platform_connections SELECT id, id, 'Notes', 'mastodon', 'https://mastodon.example',
        username, hex(randomblob(90)), NULL, NULL, 1, 0, NULL, NULL, NULL FROM users;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO user_sessions SELECT i, lower(hex(randomblob(18))), 1 + i % {users},
            1 + i % {users}, '2025-01-09 12:00:00.123456', '2025-01-09 12:30:00.654321', '{agent}',
            '192.0.2.' || i % 256 FROM n
"""
POSTGRES_ROWS = """
    INSERT INTO users SELECT i, 'user' || i, 'user' || i || '@example.com', 'scrypt:x', 'VIEWER',
        true, '2024-03-01 08:30:00.000001', NULL FROM generate_series(1, {users}) AS i;
    INSERT INTO platform_connections SELECT id, id, 'Notes', 'mastodon', 'https://mastodon.example',
        username, repeat(md5(id::text), 6), NULL, NULL, true, false, NULL, NULL, NULL FROM users;
    INSERT INTO user_sessions SELECT i, gen_random_uuid(), 1 + i % {users}, 1 + i % {users},
        '2025-01-09 12:00:00.123456', '2025-01-09 12:30:00.654321', '{agent}',
        '192.0.2.' || i % 256 FROM generate_series(1, {rows}) AS i;
    SELECT setval('user_sessions_id_seq', {rows})
"""


def filled(rows: str, number: int) -> str:
    """Return the statements that fill a database with this number of session rows."""
    users = max(number // _ROWS_A_USER, 1)
    return rows.format(rows=number, users=users, agent=_AGENT)
