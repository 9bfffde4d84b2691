until_true at_least 3 'transship_fills_total{outcome="committed"'
skopeo copy --quiet --src-tls-verify=false docker://127.0.0.1:5000/team/app:1 dir:third
until_true at_least 3 'transship_requests_total{cache="hit"'
