cache 'transship: {access_log: {output: /var/log/access.log}}'
