"""The offset ranges that a bronze table's commits say they cover: contiguous, and true of the files they came with."""

import json

import pyarrow as pa

EXAMPLES = 5


def read_state(table, judgement):
    """The table property tapehouse.state, or None; it must name the newest snapshot of the lineage that has one, and stand in its summary too.

    Snapshots above that one, of other engines, carry none.
    """
    text = table.properties.get("tapehouse.state")
    snapshot = next((s for s in reversed(lineage(table)) if s.summary.get("tapehouse.state")), table.current_snapshot())
    if text is None:
        if snapshot is not None:
            judgement.violation("state", "the table has snapshots and no property tapehouse.state")
        return None
    state = json.loads(text)
    if snapshot is not None:
        if state["snapshot"] != snapshot.snapshot_id:
            judgement.violation("state", f"names snapshot {state['snapshot']}, the newest with a state is {snapshot.snapshot_id}")
        in_summary = snapshot.summary.get("tapehouse.state")
        if in_summary is None or json.loads(in_summary) != state:
            judgement.violation("state", f"the current summary has {in_summary}, the table {text}")
    return state


def lineage(table):
    """The snapshots from the oldest retained ancestor to the current one."""
    by_id, chain = {s.snapshot_id: s for s in table.snapshots()}, []
    snapshot = table.current_snapshot()
    while snapshot is not None:
        chain.append(snapshot)
        snapshot = by_id.get(snapshot.parent_snapshot_id)
    return chain[::-1]


def decide(snapshot, ends, judgement):
    """An operator's decision moves the ends: over gaps that begin where the ranges ended, or to what was derived anew."""
    kind = snapshot.summary.get("tapehouse.state-change")
    if kind is None:
        return
    state = json.loads(snapshot.summary.get("tapehouse.state"))
    for partition, (start, end) in json.loads(snapshot.summary.get("tapehouse.gaps") or "{}").items():
        key = (state["incarnation"], int(partition))
        if ends.get(key, start) != start or end <= start:
            judgement.violation("I2 a gap that is none", f"snapshot {snapshot.snapshot_id} {key}: [{start}, {end}) after {ends.get(key)}")
        ends[key] = end
    if kind == "rebuild":
        ends.update({(state["incarnation"], int(p)): n for p, n in state["next"].items()})


def check_gaps(db, table, judgement):
    """No row lies in a gap that was accepted as lost."""
    for incarnation, partitions in json.loads(table.properties.get("tapehouse.gaps") or "{}").items():
        for partition, gaps in partitions.items():
            for start, end in gaps:
                (rows,) = db.execute("""SELECT count(*) FROM by_pyiceberg WHERE topic_incarnation = ? AND kafka_partition = ?
                                        AND kafka_offset >= ? AND kafka_offset < ?""", [int(incarnation), int(partition), start, end]).fetchone()
                if rows:
                    judgement.violation("I2 rows in a recorded gap", dict(partition=int(partition), gap=[start, end], rows=rows))


def check_ranges(table, state, judgement):
    """I2: within the retained snapshots each range starts where the one before ended, and the last ends at the recorded next offset.

    Returns [(snapshot id, incarnation, partition, start, end)].
    """
    ends, found, commits = {}, [], 0
    for snapshot in lineage(table):
        decide(snapshot, ends, judgement)
        text = snapshot.summary.get("tapehouse.ranges")
        if text is None:
            continue
        commits += 1
        incarnation = int(snapshot.summary.get("tapehouse.incarnation"))
        for partition, (start, end) in json.loads(text).items():
            key = (incarnation, int(partition))
            if end < start:
                judgement.violation("I2 range runs backwards", f"snapshot {snapshot.snapshot_id} {key}: [{start}, {end})")
            if key in ends and ends[key] != start:
                judgement.violation("I2 ranges are not contiguous", f"snapshot {snapshot.snapshot_id} {key}: [{start}, {end}) after {ends[key]}")
            ends[key] = end
            found.append((snapshot.snapshot_id, *key, start, end))
        added, rows = snapshot.summary.get("added-records"), snapshot.summary.get("tapehouse.rows")
        if int(added or 0) != int(rows or 0):
            judgement.violation("summary", f"snapshot {snapshot.snapshot_id}: added-records {added}, tapehouse.rows {rows}")
    judgement.figures.update(retained_snapshots=len(lineage(table)), retained_commits=commits)
    if state is not None:
        for (incarnation, partition), end in ends.items():
            recorded = state["next"].get(str(partition))
            if incarnation == state["incarnation"] and recorded != end:
                judgement.violation("I2 state and ranges disagree", f"partition {partition}: next {recorded}, last range ends at {end}")
    return found


def check_files_in_ranges(db, files, ranges, state, judgement):
    """Rows lie below the recorded next offset, and the rows of a retained commit's files lie in that commit's ranges."""
    if not files:
        return
    added_by = pa.table({"filename": list(files), "snapshot": pa.array([s for s, _ in files.values()], pa.int64())})
    range_of = pa.table([list(column) for column in zip(*ranges)] if ranges else [[]] * 5,
                        schema=pa.schema([("snapshot", pa.int64()), ("i", pa.int32()), ("p", pa.int32()), ("start", pa.int64()), ("stop", pa.int64())]))
    db.execute("""CREATE TABLE spans AS SELECT filename, topic_incarnation AS i, kafka_partition AS p, min(kafka_offset) AS lo, max(kafka_offset) AS hi
                  FROM read_parquet(?, filename = true, hive_partitioning = false) GROUP BY ALL""", [list(files)])
    outside = db.execute(f"""
        SELECT spans.* FROM spans JOIN added_by USING (filename) LEFT JOIN range_of USING (snapshot, i, p)
        WHERE snapshot IN (SELECT snapshot FROM range_of) AND NOT coalesce(lo >= start AND hi < stop, false) LIMIT {EXAMPLES}""").fetchall()
    if outside:
        judgement.violation("I1 rows outside the ranges of their own commit", outside)
    if state is None:
        return
    highest = dict(db.execute("SELECT p, max(hi) FROM spans WHERE i = ? GROUP BY p", [state["incarnation"]]).fetchall())
    beyond = {p: hi for p, hi in highest.items() if hi >= state["next"].get(str(p), 0)}
    if beyond:
        judgement.violation("I1 rows at or beyond the recorded next offset", dict(highest_offset=beyond, next=state["next"]))
