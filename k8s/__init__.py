"""What the cluster runs once, as cdk8s charts that know nothing of CDK."""
