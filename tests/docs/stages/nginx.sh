mkdir -p /var/log/nginx /var/lib/nginx /etc/nginx/conf.d
cp /etc/transship/registry-ca.pem /etc/ssl/registry-ca.pem
rm -f /etc/nginx/sites-enabled/*
