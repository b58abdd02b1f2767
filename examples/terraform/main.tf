# SPDX-License-Identifier: Apache-2.0

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

# Two accounts: one offers a service, the other uses it. Against AWS leave
# var.endpoint empty, and the checks that ask AWS itself are done again.
provider "aws" {
  alias   = "provider"
  region  = var.region
  profile = var.provider_profile

  skip_credentials_validation = local.postern
  skip_metadata_api_check     = local.postern
  skip_region_validation      = local.postern

  dynamic "endpoints" {
    for_each = local.postern ? [var.endpoint] : []
    content {
      ec2   = endpoints.value
      elbv2 = endpoints.value
      sts   = endpoints.value
    }
  }
}

provider "aws" {
  alias   = "consumer"
  region  = var.region
  profile = var.consumer_profile

  skip_credentials_validation = local.postern
  skip_metadata_api_check     = local.postern
  skip_region_validation      = local.postern

  dynamic "endpoints" {
    for_each = local.postern ? [var.endpoint] : []
    content {
      ec2   = endpoints.value
      elbv2 = endpoints.value
      sts   = endpoints.value
    }
  }
}

locals {
  postern = var.endpoint != ""
  zones   = ["${var.region}a", "${var.region}b"]
}

data "aws_caller_identity" "consumer" {
  provider = aws.consumer
}
