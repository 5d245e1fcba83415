package run

import (
	"testing"

	"github.com/oomlab/oomlab/internal/mem"
	"github.com/oomlab/oomlab/internal/qos"
	"github.com/oomlab/oomlab/internal/record"
)

func TestFormulaLimits(t *testing.T) {
	kubelet := qos.Node{Version: 37, Capacity: 2 * mem.GiB, SystemReserved: mem.GiB, CgroupVersion: 2, Layout: qos.Layout{Driver: qos.Cgroupfs}}
	limited := qos.Pod{Name: "p", Containers: []qos.Container{{Name: "c", Requirements: qos.Requirements{Limits: qos.Resources{Memory: 64 * mem.MiB}}}}}.Defaulted()
	group := qos.Limits{Max: mem.LimitOf(64 * mem.MiB), Swap: mem.LimitOf(0), OOMGroup: true}
	for name, tt := range map[string]struct {
		path  string
		owner record.Owner
		class qos.Class
		want  qos.Limits
	}{
		"kubepods":  {"/kubepods", record.Owner{Level: qos.LevelKubepods}, "", qos.Limits{Max: mem.LimitOf(mem.GiB)}},
		"class":     {"/kubepods/besteffort", record.Owner{Level: qos.LevelClass}, qos.BestEffort, qos.Limits{}},
		"pod":       {"/kubepods/burstable/podp", record.Owner{Pod: "p", Level: qos.LevelPod}, qos.Burstable, qos.Limits{Max: mem.LimitOf(64 * mem.MiB)}},
		"container": {"/kubepods/burstable/podp/c", record.Owner{Pod: "p", Container: "c", Level: qos.LevelContainer}, qos.Burstable, group},
	} {
		l := record.Limit{Owner: tt.owner}
		if !formulaLimits(&l, kubelet, tt.path, []qos.Pod{limited}) || l.Formula != tt.want || l.QoSClass != string(tt.class) {
			t.Errorf("%s: %+v", name, l)
		}
	}
	for name, owner := range map[string]record.Owner{
		"pause":        {Pod: "p", Level: qos.LevelContainer},
		"another pod":  {Pod: "q", Level: qos.LevelPod},
		"not a cgroup": {Level: qos.LevelNode},
	} {
		l := record.Limit{Owner: owner}
		if formulaLimits(&l, kubelet, "/kubepods/x", []qos.Pod{limited}) {
			t.Errorf("%s has limits by formula: %+v", name, l)
		}
	}
}
