# A DTR is a registry here; of the cache's certificate the page's names.
cp /etc/transship/registry-ca.pem /etc/transship/dtr-ca.pem
cp /etc/transship/cache.pem /etc/transship/dtr-cache-ca.pem
cp /etc/transship/cache.key /etc/transship/dtr-cache-key.pem
mkdir /etc/transship/trusted
cp /etc/transship/cache-ca.pem /etc/transship/trusted/ca.crt
