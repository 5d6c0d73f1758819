"""The study around the DVC graph: recipes, and the checks that its numbers can be made again."""
