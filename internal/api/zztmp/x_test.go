package zztmp
import ("testing";"net/http";"net/http/httptest";"net/netip";"os";"os/exec";"strings";"context"
"postern.dev/postern/internal/api/awsquery";"postern.dev/postern/internal/api/ec2";"postern.dev/postern/internal/api/elbv2";"postern.dev/postern/internal/api/sts"
"postern.dev/postern/internal/control";"postern.dev/postern/internal/control/controltest";"postern.dev/postern/internal/store";"postern.dev/postern/internal/vpc")
func TestX(t *testing.T){
 c,_:=controltest.New(t)
 id,err:=c.CreateVPC(t.Context(),controltest.Consumer,control.CreateVPCInput{CIDR:netip.MustParsePrefix("10.0.0.0/16")}); if err!=nil{t.Fatal(err)}
 c.Store.Update(t.Context(),func(tx *store.Tx)error{tx.Put(&vpc.Subnet{ID:"subnet-000000000000000aa",Owner:controltest.Consumer.Account,VPC:id,CIDR:netip.MustParsePrefix("10.0.1.0/24"),Zone:"us-east-1a"});return nil})
 ctx,cancel:=context.WithCancel(context.Background()); defer cancel()
 go c.RunInstanceLifecycle(ctx); go c.RunBalancerLifecycle(ctx)
 srv:=httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,r *http.Request){
  f,_,err:=awsquery.Parse(r,1<<20); if err!=nil{t.Log(err);return}
  t.Log("REQ",f.Names())
  switch f.Version{case "2016-11-15": ec2.Serve(w,&ec2.Call{r.Context(),c,controltest.Consumer},f,"r"); case "2015-12-01": elbv2.Serve(w,&elbv2.Call{r.Context(),c,controltest.Consumer},f,"r"); default: sts.Serve(w,controltest.Consumer,f,"r")}
 })); defer srv.Close()
 os.WriteFile("/tmp/lbgold/env",[]byte("VPC="+string(id)+"\n"),0o644)
 cmd:=exec.Command("bash","/tmp/lbgold/run.sh",srv.URL,string(id)); cmd.Env=[]string{"PATH="+os.Getenv("PATH"),"HOME=/tmp/lbgold","AWS_ACCESS_KEY_ID=AKIAEXAMPLE","AWS_SECRET_ACCESS_KEY=x","AWS_DEFAULT_REGION=us-east-1","AWS_EC2_METADATA_DISABLED=true","AWS_ENDPOINT_URL="+srv.URL,"AWS_PAGER=","AWS_CONFIG_FILE=/dev/null","AWS_SHARED_CREDENTIALS_FILE=/dev/null"}
 if h:=os.Getenv("PYENV_ROOT");h!=""{cmd.Env=append(cmd.Env,"PYENV_ROOT="+h)} else {cmd.Env=append(cmd.Env,"PYENV_ROOT=/root/.pyenv")}
 out,err:=cmd.CombinedOutput(); t.Log(string(out),err); _=strings.TrimSpace
}
