// Package price reads a table of prices and bills tokens with it. No prices come with the program: they differ by Region
// and change, and a wrong one is worse than none.
//
// [Load] reads a table and reports everything that is wrong with it at once, [Table.Find] picks the entry for a model as it is
// called, and [Entry.Bill] says what tokens cost. A table is YAML:
//
//	currency: USD            # three letters, required
//	per: 1000000             # tokens that every figure is for: 1000 or 1000000, required
//	prices:
//	  - model: anthropic.claude-sonnet-4-5-*   # required; without us., eu., global. … and without the ARN in front; * is any text
//	    scope: [us-east-1, us]                 # Regions, or geographies of inference profiles; left out: everywhere
//	    tier: default                          # default, priority, flex or reserved
//	    latency: standard                      # standard or optimized
//	    effective_from: 2026-01-01             # left out: always
//	    input: 3
//	    output: 15
//	    cache_read: 0.3                        # left out: as input
//	    cache_write_5m: 3.75                   # left out: as input
//	    cache_write_1h: 6
//	    long_context: {threshold_input_tokens: 200000, input: 6, output: 22.5}
//	    tier_multiplier: {batch: 0.5, flex: 0.5, priority: 1.75}
//	  - model: provisioned-model/*
//	    provisioned: {hourly_per_mu: 44, commitment: none}
//	    reserved: {per_1k_tpm_month: 100}
//
// Above the threshold of long_context its rates hold for the whole request
// (https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-request-response.html). Only tokens as they are billed are
// counted: burndown is about quotas and never enters a price
// (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html).
package price
