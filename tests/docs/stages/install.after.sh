at_least 3 'transship_fills_total{outcome="committed"'
at_least 3 'transship_requests_total{cache="hit"'
