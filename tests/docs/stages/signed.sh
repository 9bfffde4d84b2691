. "$TRANSSHIP_STAGES/ops.lib"
secret=0123456789abcdef0123456789abcdef
serve "$(before https://registry.example "transship: {access: {require_token: true, secret: $secret}}")"
layer=$(layer)
signed() { # SECONDS FROM NOW, a token of five minutes
    python3 - "$1" "$layer" "$secret" <<'P'
import base64, hashlib, hmac, json, sys, time
def b64(raw): return base64.urlsafe_b64encode(raw).rstrip(b"=")
begins = int(time.time()) + int(sys.argv[1])
claims = {"aud": "transship", "nbf": begins, "exp": begins + 300, "digest": sys.argv[2],
          "access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}]}
text = b64(b'{"alg":"HS256","typ":"JWT"}') + b"." + b64(json.dumps(claims).encode())
print((text + b"." + b64(hmac.new(sys.argv[3].encode(), text, hashlib.sha256).digest())).decode())
P
}
for seconds in 0 -3600 3600; do
    curl -sS -o /run/body -w '%{http_code}\n' "http://cache.example:5000/v2/team/app/blobs/$layer?token=$(signed $seconds)"
done
curl -sS "http://cache.example:5000/v2/team/app/blobs/$layer?token=$(signed -3600)"
curl -sS http://cache.example:5000/v2/team/app/manifests/1
