"""Sample metrics: features -> moments -> Fréchet distance -> the record in metrics.json.

Reading order: `moments`, `frechet`, `statistics`, `weights`, `inception`, `features`, `record`.
"""
