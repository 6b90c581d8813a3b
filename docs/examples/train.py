"""Train one student; stop it once it is good enough."""

import themo


def report(now: themo.Report) -> str | None:
    score = now.metrics["val/match@01"]
    print(f"{now.metrics['pairs_seen']:.0f} pairs: {score:.3f}")
    return "stop" if score > 0.9 else None


result = themo.train(preset="miniature", epochs=0.5, learn_rate=2e-3, report=report)
print(result)  # version directory, best score, state
print(result.best.metrics)
