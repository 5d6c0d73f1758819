"""Sample metrics: features -> moments -> Frechet distance and other metrics -> the records in metrics.json.

Reading order: `moments`, `frechet`, `statistics`, `weights`, `inception`, `features`, `record`; then, each by itself,
`kernel`, `inception_score`, `manifold`, `memorization`, `intervals`, `extrapolation`.
"""
