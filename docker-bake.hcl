# Both variants for one or more platforms: docker buildx bake --file docker-bake.hcl [lab-cpu|lab-cuda]
#
# PLATFORMS=linux/amd64,linux/arm64 needs a builder that can: docker buildx create --use

variable "REVISION" {
  default = "unknown"
}

variable "PLATFORMS" {
  default = ""
}

# The tag's first part, such as registry.example/someone/gradient-lab.
variable "IMAGE" {
  default = "gradient-lab"
}

group "default" {
  targets = ["lab"]
}

target "lab" {
  name       = "lab-${variant}"
  matrix     = { variant = ["cpu", "cuda"] }
  dockerfile = "Dockerfile"
  target     = "lab"
  tags       = ["${IMAGE}:${variant}"]
  platforms  = PLATFORMS == "" ? [] : split(",", PLATFORMS)
  args = {
    TORCH_VARIANT = variant
    REVISION      = REVISION
  }
}
