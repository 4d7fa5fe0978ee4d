"""Facts about one table from PostgreSQL's catalog: everything that defines it."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

Facts = dict[str, list[dict[str, Any]]]

# Privileges, defaults included; the grantee is null for PUBLIC.
_GRANTS = """
    SELECT pg_get_userbyid(grantor) AS grantor,
        CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END AS grantee,
        privilege_type AS privilege, is_grantable
    FROM aclexplode(coalesce(c.relacl,
        acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)))
    ORDER BY 1, 2 NULLS FIRST, 3"""
# Each query takes the table's oid. to_jsonb makes columns null that a version does not have yet.
_QUERIES = {
    "table": """
        SELECT c.relname AS name, n.nspname AS schema, c.relpersistence AS persistence,
            c.relreplident AS replica_identity, c.relrowsecurity AS row_security,
            c.relforcerowsecurity AS row_security_forced, c.reloptions AS options,
            c.relispartition AS is_partition, c.reloftype::regtype::text AS of_type,
            t.spcname AS tablespace, a.amname AS access_method,
            pg_get_userbyid(c.relowner) AS owner, obj_description(c.oid, 'pg_class') AS comment,
            toast.reloptions AS toast_options
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            LEFT JOIN pg_tablespace AS t ON t.oid = c.reltablespace
            LEFT JOIN pg_am AS a ON a.oid = c.relam
            LEFT JOIN pg_class AS toast ON toast.oid = c.reltoastrelid
        WHERE c.oid = %(oid)s""",
    "columns": """
        SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
            a.attnotnull AS not_null, pg_get_expr(d.adbin, d.adrelid) AS default,
            a.attidentity AS identity, a.attgenerated AS generated,
            CASE WHEN a.attcollation <> t.typcollation
                THEN a.attcollation::regcollation::text END AS collation,
            CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END AS storage,
            nullif(to_jsonb(a) ->> 'attcompression', '') AS compression,
            nullif(to_jsonb(a) ->> 'attstattarget', '-1') AS statistics,
            a.attoptions AS options, a.attinhcount AS parents,
            (SELECT array_agg(each::text ORDER BY each::text) FROM unnest(a.attacl) AS each)
                AS grants,
            col_description(a.attrelid, a.attnum) AS comment
        FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
            LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum""",
    "grants": f"""
        SELECT g.* FROM pg_class AS c, LATERAL ({_GRANTS}) AS g WHERE c.oid = %(oid)s""",
    "constraints": """
        SELECT conname AS name, contype AS type, pg_get_constraintdef(oid) AS definition,
            convalidated AS is_valid, confrelid = conrelid AS is_own,
            (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1])
                AS column, obj_description(oid, 'pg_constraint') AS comment
        FROM pg_constraint WHERE conrelid = %(oid)s AND contype <> 't'
        ORDER BY contype <> 'p', contype <> 'u', conname""",
    "indexes": """
        SELECT c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition,
            i.indisclustered AS is_clustered, i.indisvalid AS is_valid,
            i.indisreplident AS is_replica_identity, t.spcname AS tablespace,
            EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid
                AND conrelid = i.indrelid) AS of_constraint,
            obj_description(c.oid, 'pg_class') AS comment
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            LEFT JOIN pg_tablespace AS t ON t.oid = c.reltablespace
        WHERE i.indrelid = %(oid)s ORDER BY c.relname""",
    "triggers": """
        SELECT tgname AS name, pg_get_triggerdef(oid) AS definition, tgenabled AS enabled,
            obj_description(oid, 'pg_trigger') AS comment
        FROM pg_trigger WHERE tgrelid = %(oid)s AND NOT tgisinternal ORDER BY tgname""",
    "sequences": f"""
        SELECT c.relname AS name, n.nspname AS schema, a.attname AS column, d.deptype AS how,
            format_type(s.seqtypid, NULL) AS type, s.seqstart AS start,
            s.seqincrement AS increment, s.seqmin AS minimum, s.seqmax AS maximum,
            s.seqcache AS cache, s.seqcycle AS cycle, c.relpersistence AS persistence,
            ARRAY(SELECT to_jsonb(g) FROM ({_GRANTS}) AS g) AS grants,
            pg_get_userbyid(c.relowner) AS owner, obj_description(c.oid, 'pg_class') AS comment
        FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_sequence AS s ON s.seqrelid = c.oid
            JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.refobjid = %(oid)s AND d.classid = 'pg_class'::regclass
            AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
        ORDER BY c.relname""",
    # Parts that we can't recreate: a table with any of them is refused.
    "others": """
        SELECT 'the policy ' || polname AS name FROM pg_policy WHERE polrelid = %(oid)s
        UNION ALL SELECT 'the rule ' || rulename FROM pg_rewrite WHERE ev_class = %(oid)s
        UNION ALL SELECT 'the statistics ' || stxname FROM pg_statistic_ext
            WHERE stxrelid = %(oid)s
        UNION ALL SELECT 'its place in the publication ' || pubname FROM pg_publication_rel AS r
            JOIN pg_publication AS p ON p.oid = r.prpubid WHERE r.prrelid = %(oid)s
        UNION ALL SELECT 'its parent ' || inhparent::regclass::text FROM pg_inherits
            WHERE inhrelid = %(oid)s
        UNION ALL SELECT 'the security label of ' || provider FROM pg_seclabel
            WHERE objoid = %(oid)s
        ORDER BY 1""",
}


def facts_of(connection: psycopg.Connection, oid: int) -> Facts:
    """Return all facts; tables with equal facts are equal, except for their rows."""
    with connection.cursor(row_factory=dict_row) as cursor:
        facts = {
            name: cursor.execute(query.encode(), {"oid": oid}).fetchall()
            for name, query in _QUERIES.items()
        }
    for sequence in facts["sequences"]:
        position = psycopg.sql.SQL("SELECT last_value, is_called FROM {}").format(
            psycopg.sql.Identifier(sequence["schema"], sequence["name"])
        )
        row = connection.execute(position).fetchone()
        assert row is not None  # noqa: S101 a sequence is a table of one row
        sequence["last_value"], sequence["is_called"] = row
    return facts


def grants_of(connection: psycopg.Connection, name: str) -> list[dict[str, Any]]:
    """Return the privileges on a table or sequence, whose name is in SQL's form."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT g.* FROM pg_class AS c, LATERAL ({_GRANTS}) AS g"
            " WHERE c.oid = %s::regclass".encode(),
            [name],
        ).fetchall()
