// kube-router, started only to enforce NetworkPolicies.
package main

import (
	"log"
	"os"

	"github.com/cloudnativelabs/kube-router/v2/pkg/cmd"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/spf13/pflag"
)

func main() {
	settings := options.NewKubeRouterConfig()
	settings.AddFlags(pflag.CommandLine)
	pflag.Parse()
	// It takes the node's name from here, not from its own flag.
	if err := os.Setenv("NODE_NAME", settings.HostnameOverride); err != nil {
		log.Fatal(err)
	}
	router, err := cmd.NewKubeRouterDefault(settings)
	if err != nil {
		log.Fatal(err)
	}
	if err := router.Run(); err != nil {
		log.Fatal(err)
	}
}
