until_true at_least 3 'transship_fills_total{outcome="committed"'
# The file that is replaced is one that nginx takes, and it did what transship does now.
mkdir -p "$state/nginx"
sed -i "s#/var/cache/nginx#$state/nginx#" /etc/nginx/conf.d/registry.conf
nginx -g 'daemon off;' >"$state/nginx.log" 2>&1 &
taken 127.0.0.1:5000 $!
skopeo copy --quiet --src-tls-verify=false docker://127.0.0.1:5000/team/app:1 dir:by-nginx
diff -r app by-nginx
