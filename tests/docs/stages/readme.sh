# Docker Hub's authority is not one that transship knows here: the registry by plain HTTP stands in for it.
transship() {
    command transship "${@/https:\/\/registry-1.docker.io/http:\/\/registry.example}"
}
