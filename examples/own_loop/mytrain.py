"""A small network on scanned digits, in NumPy: an epoch loop as you may have one already.

What tuneoff needs of it are the lines with ``params`` and ``context``. Run by itself, it trains
once: python mytrain.py
"""

import numpy as np
from sklearn.datasets import load_digits


def data():
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))  # the same split for every run
    images, labels = images[order] / 16.0, labels[order]
    return {
        "train": (images[:900], labels[:900]),
        "validation": (images[900:1350], labels[900:1350]),
        "test": (images[1350:], labels[1350:]),
    }


def outputs(weights, images):
    w1, b1, w2, b2 = weights
    hidden = np.maximum(images @ w1 + b1, 0.0)
    logits = hidden @ w2 + b2
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, likely / likely.sum(axis=1, keepdims=True)


def error(weights, images, labels):
    return float((outputs(weights, images)[1].argmax(axis=1) != labels).mean())


def train(params, context):
    splits = data()
    images, labels = splits["train"]
    if context.resume is None:
        random = np.random.default_rng(context.seed)
        width = params["width"]
        weights = [
            random.normal(0.0, 0.18, (64, width)), np.zeros(width),
            random.normal(0.0, (2 / width) ** 0.5, (width, 10)), np.zeros(10),
        ]  # fmt: skip
        speeds = [np.zeros_like(w) for w in weights]
    else:
        weights, speeds, random = context.resume

    for epoch in context.remaining:
        order = random.permutation(len(labels))
        for batch in np.array_split(order, len(order) // params["batch_size"]):
            hidden, likely = outputs(weights, images[batch])
            slope = likely.copy()
            slope[np.arange(len(batch)), labels[batch]] -= 1.0
            slope /= len(batch)
            below = (slope @ weights[2].T) * (hidden > 0)
            slopes = [
                images[batch].T @ below,
                below.sum(axis=0),
                hidden.T @ slope,
                slope.sum(axis=0),
            ]
            for w, speed, s in zip(weights, speeds, slopes, strict=True):
                speed *= params["momentum"]
                speed -= params["lr"] * s
                w += speed
        context.save((weights, speeds, random))
        context.report(
            epoch, error(weights, *splits["validation"]), error(weights, *splits["test"])
        )


def predict(params, context, split):
    weights, _, _ = context.resume
    images, labels = data()[split]
    return outputs(weights, images)[1], labels


train.predict = predict  # only an [ensemble] needs it


if __name__ == "__main__":

    class Alone:
        resume, seed, remaining = None, 0, range(1, 6)

        def save(self, state):
            pass

        def report(self, epoch, value, test):
            print(f"epoch {epoch}: validation error {value:.3f}, test error {test:.3f}")

    train({"lr": 0.1, "momentum": 0.9, "width": 64, "batch_size": 32}, Alone())
