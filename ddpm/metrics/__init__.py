"""Sample metrics: features -> moments -> Frechet distance and other metrics -> the records in metrics.json.

Reading order: `moments`, `frechet`, `statistics`, `weights`, `inception`, `features`, `record`; each of the others is one
metric, or what surrounds it: `kernel`, `inception_score`, `manifold`, `memorization`, `intervals`, `extrapolation`.
"""
