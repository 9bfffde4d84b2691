. "$TRANSSHIP_STAGES/ops.lib"
try() { # What check says of this file.
    cat >config.yml
    transship check config.yml | grep -E '^(error|warning|The configuration)' || :
}
try <<<'{version: 0.1, storage: {s3: {bucket: x}}}'
try <<<'{version: 0.1, transship: {stoer: {}}}'
try <<<'{version: 0.1, proxy: {remoteurl: "registry.example"}}'
try <<<'{version: 0.1, http: {addr: "cache.example:5000"}}'
try <<<'{version: 0.1, http: {tls: {certificate: /none.pem, key: /none.key}}}'
try <<<'{version: 0.1, proxy: {remoteurl: "https://a.example", username: u, password: p}}'
try <<<'{version: 0.1, http: {secret: x}}'
try <<<$'version: 0.1\n\thttp: {}'
try <<'Y'
version: 0.1
middleware: {registry: [{name: downstream, options: {blobttl: 24, upstreams: ["https://a.example"]}}]}
Y
try <<'Y'
version: 0.1
proxy: {remoteurl: "https://a.example"}
middleware: {registry: [{name: downstream, options: {upstreams: ["https://b.example"]}}]}
Y
