"""Views that answer an auditor's common questions in sqlite3 or Datasette. Nothing of ours reads through them."""

_TIME = "strftime('%Y-%m-%d %H:%M:%f', {} / 1e9, 'unixepoch')"

OPERATIONS = f"""
SELECT commits.first + item.key AS seq,
       {_TIME.format("commits.time_ns")} AS time,
       json_extract(item.value, '$[5].op') AS op,
       json_extract(item.value, '$[5].uid') AS uid,
       json_extract(item.value, '$[5].gid') AS gid,
       json_extract(item.value, '$[5].pid') AS pid,
       json_extract(item.value, '$[5].node') AS node,
       CASE json_extract(item.value, '$[5].op') WHEN 'READDIRPLUS' THEN NULL
       ELSE json_extract(item.value, '$[5].name') END AS name,
       json_extract(item.value, '$[5].name2') AS name2,
       json_extract(item.value, '$[5].args') AS args,
       json_extract(item.value, '$[0]') AS machine,
       json_extract(item.value, '$[1]') AS "key",
       commits.time_ns AS time_ns
FROM commits, json_each(commits.body) AS item
WHERE json_extract(item.value, '$[5].op') IS NOT NULL
"""
"""One row for each request of the guest; `key` is the inode or handle that it touched first. READDIRPLUS brings names, and
has none itself."""

TRAFFIC = f"""
SELECT commits.first + item.key AS seq,
       {_TIME.format("commits.time_ns")} AS time,
       json_extract(item.value, '$[1]') AS fh,
       json_extract(item.value, '$[5].node') AS node,
       json_extract(item.value, '$[5].uid') AS uid,
       json_extract(item.value, '$[5].pid') AS pid,
       json_extract(item.value, '$[6][0][3].reads') AS reads,
       json_extract(item.value, '$[6][0][3].bytes_read') AS bytes_read,
       json_extract(item.value, '$[6][0][3].writes') AS writes,
       json_extract(item.value, '$[6][0][3].bytes_written') AS bytes_written
FROM commits, json_each(commits.body) AS item
WHERE json_extract(item.value, '$[0]') = 'handle' AND json_extract(item.value, '$[6][0][0]') = 'delete'
"""
"""One row for each closed handle, with what went through it."""

USERS = """
SELECT uid, gid, op, count(*) AS n, min(time) AS first, max(time) AS last
FROM operations GROUP BY uid, gid, op ORDER BY n DESC
"""

EVENTS = """
SELECT machine, event, sum(n) AS n FROM (
  SELECT machine, event, n FROM counts
  UNION ALL
  SELECT json_extract(item.value, '$[0]'), json_extract(item.value, '$[2]'), count(*)
  FROM commits, json_each(commits.body) AS item GROUP BY 1, 2
) GROUP BY machine, event ORDER BY n DESC
"""
"""How often everything happened, deleted history included."""

STARTS = f"""
SELECT life, {_TIME.format("started_ns")} AS started, pid, first_commit,
       round((started_ns - (SELECT time_ns FROM commits WHERE seq = first_commit - 1)) / 1e6, 3) AS ms_after_last_commit,
       round(((SELECT time_ns FROM commits WHERE seq = first_commit) - started_ns) / 1e6, 3) AS ms_to_next_commit
FROM lives ORDER BY life
"""
"""Each life of the device and how long nothing was committed around its beginning."""

VIEWS = {"operations": OPERATIONS, "traffic": TRAFFIC, "users": USERS, "events": EVENTS, "starts": STARTS}
"""By name; later ones may use earlier ones."""
