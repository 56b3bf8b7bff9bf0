"""measure.py NAME TABLE EXPECTED_TOTAL_RECORDS [--exit] [--timeout S] -- COMMAND...
Starts COMMAND in its own process group, polls the catalog every 0.2 s until the sum of added-records over snapshots reaches
EXPECTED (or, with --exit, until the command ends), then stops it. Wall = launch -> visible. CPU = user+sys of the whole tree. RSS = VmHWM of the largest process of the tree.
Appends one JSON line to results/NAME.jsonl. Broker and catalog CPU are reported apart.
"""
import os, sys, json, time, subprocess, signal, urllib.request, re, resource
W = os.environ["PEERS_DIR"]; REST = os.environ["REST"]; TCK = os.sysconf("SC_CLK_TCK")
i = sys.argv.index("--"); a, cmd = sys.argv[1:i], sys.argv[i + 1:]
name, table, want = a[0], a[1], int(a[2]); by_exit = "--exit" in a
tmo = float(a[a.index("--timeout") + 1]) if "--timeout" in a else 600
def snaps():
    try:
        ns, t = table.split("."); m = json.load(urllib.request.urlopen(f"{REST}/v1/namespaces/{ns}/tables/{t}", timeout=20))["metadata"]
        return m.get("snapshots", [])
    except Exception as e: return []
def pstat(pid):
    s = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split(); return int(s[1]), (int(s[11]) + int(s[12])) / TCK
def rss(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024
def tree(root):
    ch = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try: ch.setdefault(pstat(d)[0], []).append(int(d))
            except Exception: pass
    o, st = [], [root]
    while st:
        p = st.pop(); o.append(p); st += ch.get(p, [])
    return o
def svc(n):
    try: return pstat(int(open(f"{W}/pids/{n}.pid").read()))[1]
    except Exception: return 0.0
def machine():
    v = [int(x) for x in open("/proc/stat").readline().split()[1:]]; return (sum(v[:3]) + sum(v[5:8])) / TCK
base = len(snaps()) and {s["snapshot-id"] for s in snaps()} or set()
b0, c0, m0 = svc("kafka"), svc("rest"), machine()
log = open(f"{W}/logs/run_{name}.log", "ab"); t0 = time.time()
p = subprocess.Popen(cmd, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
cpu, hw, seen, first, done, tsn, k = {}, {}, 0, None, None, [], 0
known = set(base)
while True:
    for q in tree(p.pid) if k % 5 == 0 else list(cpu):
        try: cpu[q] = max(cpu.get(q, 0), pstat(q)[1]); hw[q] = rss(q)
        except Exception: pass
    k += 1
    for s in snaps():
        if s["snapshot-id"] not in known:
            known.add(s["snapshot-id"]); now = time.time() - t0
            n = int(s["summary"].get("added-records", 0)); seen += n; first = first or now
            tsn.append([round(now, 2), n, int(s["summary"].get("total-records", 0))]); last = now
    if not by_exit and seen >= want: done = time.time() - t0; break
    if p.poll() is not None: done = time.time() - t0; break
    if time.time() - t0 > tmo: break
    time.sleep(0.2)
for q in list(cpu):
    try: cpu[q] = max(cpu.get(q, 0), pstat(q)[1]); hw[q] = rss(q)
    except Exception: pass
b1, c1, m1 = svc("kafka"), svc("rest"), machine()
if p.poll() is None:
    os.killpg(p.pid, signal.SIGTERM)
    try: p.wait(20)
    except Exception: os.killpg(p.pid, signal.SIGKILL); p.wait()
C = sum(cpu.values()); N = want
if p.returncode is not None:  # it has ended and was awaited: the kernel's sum also has what came after the last poll
    r = resource.getrusage(resource.RUSAGE_CHILDREN); C = max(C, r.ru_utime + r.ru_stime)
out = dict(name=name, table=table, records=N, added_records=seen, wall_s=round(done or tmo, 2), ok=done is not None and seen >= want if not by_exit else p.returncode == 0,
    first_commit_s=first and round(first, 2), last_commit_s=round(last, 2) if tsn else None, commits=len(tsn), rec_per_s=round(N / (last if tsn else done or tmo)), cpu_s=round(C, 1),
    rec_per_cpu_s=round(N / C) if C else None, peak_rss_mib=round(max(hw.values())), broker_cpu_s=round(b1 - b0, 1), catalog_cpu_s=round(c1 - c0, 1),
    machine_cpu_s=round(m1 - m0, 1), steps=tsn[:40])
open(f"{W}/results/{name}.jsonl", "a").write(json.dumps(out) + "\n"); print(json.dumps(out))
