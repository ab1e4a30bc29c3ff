"""The simulator's counters beside those of a GPU: what it counts is what a profiler sees.

    ncu --csv --metrics METRICS simulator_peers FOLDER CASE --device cuda > CASE.csv     # where there is a GPU
    python3 compare_counters.py TILEJIT FOLDER CASE.csv ...                              # anywhere

METRICS is what `python3 compare_counters.py --metrics` prints. Prints a table of the launches: PTX on the simulator / the
machine's instructions on the GPU.
"""
import collections
import csv
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

LSU = "l1tex__data_pipe_lsu_wavefronts_mem_shared_op_"
GLOBAL = "pipe_lsu_mem_global_op_"
COLUMNS = {  # of the table: the metrics that are added up for it
    "warp-instructions": ["smsp__inst_executed.sum"],
    "global requests": [f"l1tex__t_requests_{GLOBAL}{op}.sum" for op in ("ld", "st")],
    "global sectors": [f"l1tex__t_sectors_{GLOBAL}{op}.sum" for op in ("ld", "st")],
    "wavefronts of shared loads": [LSU + "ld.sum"],
    "of shared stores": [LSU + "st.sum"],
    "conflicts of stores": ["l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum"],
    "`ldmatrix`": ["smsp__inst_executed_op_ldsm.sum"],
    "products": ["sm__inst_executed_pipe_tensor.sum"],
}


def of_gpu(file):
    """The columns of each launch in a CSV that ncu has written, in order."""
    launches = collections.OrderedDict()
    for row in csv.DictReader(line for line in open(file) if line.startswith('"')):
        launches.setdefault(int(row["ID"]), {})[row["Metric Name"]] = float(row["Metric Value"].replace(",", ""))
    return [[round(sum(l[m] for m in metrics)) for metrics in COLUMNS.values()] for l in launches.values()]


def of_simulator(tilejit, folder, step):
    command = [tilejit, "sim", f"{folder}/{step}.ptx", "--launch", f"{folder}/{step}.json", "--counters", "json"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    counters, _ = json.JSONDecoder().raw_decode(out[out.index("{") :])
    executed, wavefronts, extra = collections.Counter(), collections.Counter(), collections.Counter()
    for i in counters["instructions"]:
        kind = i["opcode"].split(".")[0]
        executed["mma" if i["opcode"].startswith("wgmma.mma") else kind] += i["warp_instructions"]
        if "shared" in i:
            wavefronts[kind] += i["shared"]["wavefronts"]
            extra[kind] += i["shared"]["extra_wavefronts"]
    stores = ("st", "stmatrix")
    return [
        counters["warp_instructions"],
        counters["global"]["requests"],
        counters["global"]["sectors"],
        wavefronts["ld"] + wavefronts["ldmatrix"],
        sum(wavefronts[s] for s in stores),
        sum(extra[s] for s in stores),
        executed["ldmatrix"],
        executed["mma"],
    ]


def main():
    if sys.argv[1:] == ["--metrics"]:
        return print(",".join(m for metrics in COLUMNS.values() for m in metrics))
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    tilejit, cases = sys.argv[1], pathlib.Path(sys.argv[2])
    print("| kernel | " + " | ".join(COLUMNS) + " |\n|---|" + "---:|" * len(COLUMNS))
    for file in sys.argv[3:]:
        case = pathlib.Path(file).stem
        with tempfile.TemporaryDirectory() as temporary:  # launches write their outputs there
            folder = shutil.copytree(cases / case, pathlib.Path(temporary) / case)
            steps = json.loads((folder / "case.json").read_text())["steps"]
            launches = of_gpu(file)
            if len(launches) != len(steps):
                sys.exit(f"{file} has {len(launches)} launches, {case} {len(steps)}")
            for step, gpu in zip(steps, launches):
                sim = of_simulator(tilejit, folder, step)
                both = [f"{s}" if s == g else f"{s} / {g}" for s, g in zip(sim, gpu)]
                print(f"| {case}/{step} | " + " | ".join(both) + " |", flush=True)


if __name__ == "__main__":
    main()
