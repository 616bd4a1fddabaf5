"""A training script as you may have one: argparse, a loop, a printed error, a saved state.

Three lines are tuneoff's; without tuneoff the script runs as before.
"""

from __future__ import annotations

import argparse
import pickle

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from tuneoff import folder, report, resume_epoch  # tuneoff

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--alpha", type=float, default=1e-4)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = images[order] / 16, labels[order]
train, validation, test = slice(0, 1000), slice(1000, 1400), slice(1400, None)

state = folder() / "model.pickle"  # tuneoff: the folder of this run
if resume_epoch():
    model = pickle.loads(state.read_bytes())
else:
    model = SGDClassifier(
        "log_loss", alpha=args.alpha, learning_rate="constant", eta0=args.lr, random_state=args.seed
    )
for epoch in range(resume_epoch() + 1, args.epochs + 1):
    model.partial_fit(images[train], labels[train], classes=np.unique(labels))
    error = 1 - model.score(images[validation], labels[validation])
    print(f"epoch {epoch}: validation error {error:.3f}", flush=True)
    state.write_bytes(pickle.dumps(model))
    report(epoch, error, test=1 - model.score(images[test], labels[test]))  # tuneoff
