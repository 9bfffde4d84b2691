until_true at_least 3 'transship_fills_total{outcome="committed"'
