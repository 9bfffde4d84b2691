until_true at_least 3 'transship_requests_total{cache="hit"'
