# Files that examples name.
mkdir -p /run/certs /run/secrets
for to in /run/certs /run/secrets; do
    cp /etc/transship/registry-ca.pem "$to/registry-ca.pem"
    cp /etc/transship/registry-ca.pem "$to/dtr-ca.pem"
    cp /etc/transship/cache.pem "$to/dtr-cache-ca.pem"
    cp /etc/transship/cache.key "$to/dtr-cache-key.pem"
    cp /etc/transship/cache.pem /etc/transship/cache.key "$to"
done
