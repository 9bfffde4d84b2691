. "$TRANSSHIP_STAGES/ops.lib"
printf 'me:$2y$05$abcdefghijklmnopqrstuuvVQO0f3G8Bzs7bVpxc8fWyH2S2zEuha\n' >/etc/transship/htpasswd
serve "$(before https://registry.example 'auth: {htpasswd: {realm: my cache, path: /etc/transship/htpasswd}}')"
