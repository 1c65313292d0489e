"""A program that reads runs, as MLXP's users write it."""

import mlxp
import numpy as np

reader = mlxp.Reader(src_dir="logs")
results = reader.filter("info.status == 'COMPLETE'", result_format="datadict")
print(len(results), sorted(results.diff()))

for row in results:
    row.update({"best": min(row["train.loss"]), "run": f"run {row['info.logger.log_id']}"})


def mean(values):
    return np.mean(np.array(values), axis=0).tolist()


groups = results.groupby(["config.optimizer.lr"])
for lr, group in sorted(groups.aggregate([(mean, ("train.loss", "best"))]).items()):
    print(lr, group[0]["fmean.train.loss"], group[0]["fmean.best"])
for lr, by_seed in sorted(groups.groupby("config.seed").items()):
    print(lr, sorted((seed, len(group)) for seed, group in by_seed.items()))

low = results.filter((lambda best: [value < 0.1 for value in best], "best"))
print(sorted(row["run"] for row in low), low[0]["train.classes"][-1])
halves = results.map((lambda losses: losses[-1] / 2, "train.loss", "half"))
print(sorted(row["half"] for row in results.merge(halves)), len(results.keys()) > 10)
spread = results.transform((lambda best: [value - min(best) for value in best], "best"))
print(sorted(row["f<lambda>.best"] for row in spread))
product = results.apply((lambda lr, best: lr * best, ("config.optimizer.lr", "best"), "p"), "Rowwise")
print(sorted(row["p"] for row in product))
print(len(results + low), low[0]["artifact.pickle."]["result"].load()["first"])
