package kubetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// User is somebody to act as. Without a name it is the administrator; anybody else may do only what the test grants.
type User struct {
	Name   string
	Groups []string
}

func (u User) or(as []User) User {
	if len(as) > 0 {
		return as[0]
	}
	return u
}

// Kubeconfig writes a kubeconfig for a program under test and returns its name.
func (s *Server) Kubeconfig(t testing.TB, as ...User) string {
	t.Helper()
	u := User{}.or(as)
	conf, cluster, auth, current := clientcmdapi.NewConfig(), clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo(), clientcmdapi.NewContext()
	cluster.Server, cluster.CertificateAuthority = s.URL, s.certificate()
	auth.TokenFile, auth.Impersonate, auth.ImpersonateGroups = s.path("token"), u.Name, u.Groups
	current.Cluster, current.AuthInfo = "kubetest", "kubetest"
	conf.Clusters["kubetest"], conf.AuthInfos["kubetest"], conf.Contexts["kubetest"], conf.CurrentContext = cluster, auth, current, "kubetest"
	file, err := os.CreateTemp(s.dir, "kubeconfig-")
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	if err := clientcmd.WriteToFile(*conf, file.Name()); err != nil {
		t.Fatalf("write kubeconfig: %v", err)
	}
	return file.Name()
}

// Create makes the objects of YAML documents, as the administrator. It takes a hundredth of the time of kubectl; the API server remembers the test
// program as who made them.
func (s *Server) Create(t testing.TB, manifest string) {
	t.Helper()
	conf := s.Config(t)
	resources, err := dynamic.NewForConfig(conf)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := restmapper.GetAPIGroupResources(s.Client(t).Discovery())
	if err != nil {
		t.Fatalf("ask for the API's kinds: %v", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(kinds)
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096); ; {
		var u unstructured.Unstructured
		if err := d.Decode(&u.Object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("read manifest: %v", err)
		}
		kind := u.GroupVersionKind()
		m, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			t.Fatalf("create %s %s: %v", u.GetKind(), u.GetName(), err)
		}
		if _, err := resources.Resource(m.Resource).Namespace(u.GetNamespace()).Create(t.Context(), &u, metav1.CreateOptions{}); err != nil {
			t.Fatalf("create %s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
}

// Served waits until the server has these kinds among those that it says it has: a definition of them is created before that.
func (s *Server) Served(t testing.TB, groupVersion string, kinds ...string) {
	t.Helper()
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(poll) {
		list, err := s.Client(t).Discovery().ServerResourcesForGroupVersion(groupVersion)
		missing := slices.Clone(kinds)
		if err == nil {
			for _, r := range list.APIResources {
				missing = slices.DeleteFunc(missing, func(kind string) bool { return kind == r.Kind })
			}
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not served within %s: %v, %v", groupVersion, readyWithin, missing, err)
		}
	}
}

// Kubectl runs kubectl as the administrator and returns what it printed. A document for "-f -" can be given by KubectlIn.
func (s *Server) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return s.KubectlIn(t, "", args...)
}

// KubectlIn is Kubectl with something to read.
func (s *Server) KubectlIn(t testing.TB, in string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.binary, append([]string{"kubectl", "--kubeconfig", s.Kubeconfig(t)}, args...)...)
	cmd.Dir, cmd.Stdin = s.dir, strings.NewReader(in)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir} // its cache of the API's kinds goes with the server
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %s: %v: %s%s", strings.Join(args, " "), err, problem.String(), out.String())
	}
	return out.String()
}
