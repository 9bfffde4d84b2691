skopeo copy --quiet docker://registry.example/team/app:1 dir:some-image
