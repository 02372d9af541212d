using System.Text;
using System.Text.Json;
using KTrace.Boot;
using KTrace.Boot.Images;
using KTrace.Boot.Scenarios;

namespace KTrace.Tests.Boot;

public sealed class ScenarioTests
{
    private const string Full = """
        name: full
        description: |
          All keys.
        kernel:
          image: bzImage
          vmlinux: ../vmlinux
          modules: /lib/modules/x
          debug-modules: dbg
        initramfs:
          modules: [e1000e, virtio-net]
          init: [network, shell]
          busybox: busybox.i386
          files:
            - hello.sh
            - { from: tool, to: /bin/tool, mode: "0755" }
        append: console=ttyS0
        architecture: i386
        machine: pc
        cpu: max
        memory: 2G
        cpus: 4
        nics:
          - e1000e
          - { model: virtio-net-pci, netdev: "user,hostfwd=tcp::5555-:22", mac: "52:54:00:00:00:01" }
        drives:
          - disk.qcow2
          - { file: /d.img, format: raw, if: ide, read-only: yes, snapshot: false }
        cdrom: cd.iso
        bios: OVMF.fd
        qemu-args: [-icount, shift=auto]
        tracepoints:
          - request_threaded_irq
          - "e1000e_open if cpu == 0"
        until: "login:"
        timeout: 1.5m
        max-hits: 100
        """;

    [Fact]
    public void Every_key_is_read_and_paths_are_relative_to_the_file()
    {
        var scenario = ScenarioReader.Read(Full, "s.yaml", "/home/me/s");
        Assert.Equal("full", scenario.Name);
        Assert.Equal("All keys.", scenario.Description);
        Assert.Equal(new KernelChoice { Image = "/home/me/s/bzImage", Vmlinux = "/home/me/vmlinux", Modules = "/lib/modules/x",
            DebugModules = "/home/me/s/dbg" }, scenario.Kernel);
        var build = scenario.Initramfs!.Build!;
        Assert.Equal(["e1000e", "virtio-net"], build.Modules.ToArray());
        Assert.Equal(["network", "shell"], build.Steps.ToArray());
        Assert.Equal("/home/me/s/busybox.i386", build.Busybox);
        Assert.Equal([new AddedFile("/home/me/s/hello.sh", "/hello.sh"), new AddedFile("/home/me/s/tool", "/bin/tool", 493)],
            build.Files.ToArray());
        Assert.Equal(("console=ttyS0", "i386", "pc", "max", 2048, 4), (scenario.Append, scenario.Architecture, scenario.Machine,
            scenario.Cpu, scenario.Memory, scenario.Cpus));
        Assert.Equal([new NetworkCard("e1000e"), new NetworkCard("virtio-net-pci", "user,hostfwd=tcp::5555-:22",
            "52:54:00:00:00:01")], scenario.Nics.ToArray());
        Assert.Equal([new Drive("/home/me/s/disk.qcow2", "qcow2"), new Drive("/d.img", "raw", "ide", true, false)],
            scenario.Drives.ToArray());
        Assert.Equal(("/home/me/s/cd.iso", "/home/me/s/OVMF.fd"), (scenario.Cdrom, scenario.Bios));
        Assert.Equal(["-icount", "shift=auto"], scenario.QemuArgs.ToArray());
        Assert.Equal(["request_threaded_irq", "e1000e_open if cpu == 0"], scenario.Tracepoints.ToArray());
        Assert.Equal(("login:", 90.0, 100), (scenario.Until, scenario.Timeout, scenario.MaxHits));
    }

    [Fact]
    public void A_scenario_survives_json()
    {
        var scenario = ScenarioReader.Read(Full, "s.yaml", "/home/me/s");
        var text = scenario.ToJson().GetRawText();
        Assert.Equal(scenario, Scenario.FromJson(JsonDocument.Parse(text).RootElement));
        Assert.Contains("\"max-hits\":100", text, StringComparison.Ordinal);
        Assert.Throws<BootException>(() => Scenario.FromJson(JsonDocument.Parse("""{"name":"x","bogus":1}""").RootElement));
        Assert.Throws<BootException>(() => Scenario.FromJson(JsonDocument.Parse("""[]""").RootElement));
    }

    [Theory]
    [InlineData("kernel: stock\ntracepoint: [x]\n", "line 2", "tracepoints")]
    [InlineData("kernel:\n  release: x\n  vmlinx: y\n", "line 3", "vmlinux")]
    [InlineData("nics:\n  - model: e1000e\n  - model: e1000\n    netdv: user\n", "line 4", "netdev")]
    public void An_unknown_key_is_named_with_its_line_and_the_nearest_key(string text, string line, string near)
    {
        var error = Assert.Throws<BootException>(() => ScenarioReader.Read(text, "s.yaml", "/"));
        Assert.Contains("s.yaml: " + line + ":", error.Message, StringComparison.Ordinal);
        Assert.Equal($"did you mean {near}?", error.Remedy);
    }

    [Theory]
    [InlineData("memory: lots", "memory")]
    [InlineData("memory: 1", "memory")]
    [InlineData("memory: 99999999999999G", "memory")]
    [InlineData("cpus: 0", "cpus")]
    [InlineData("cpus: -1", "cpus")]
    [InlineData("timeout: soon", "timeout")]
    [InlineData("timeout: 0s", "timeout")]
    [InlineData("architecture: vax", "architecture")]
    [InlineData("kernel: {release: a, image: b}", "one of the three")]
    [InlineData("kernel: {}", "one of the three")]
    [InlineData("initramfs: {init: [shel]}", "shel")]
    [InlineData("initramfs: {init: [shell], script: x}", "exclude")]
    [InlineData("name: [a]", "name")]
    [InlineData("nics: [[a]]", "nics")]
    [InlineData("nics: [{netdev: user}]", "model")]
    [InlineData("drives: [{format: raw}]", "file")]
    [InlineData("- a", "key: value")]
    [InlineData("", "empty")]
    [InlineData("name: a\n---\nname: b", "document")]
    [InlineData("name: a\nname: b", "line 2")]
    [InlineData("name: &a x", "anchors")]
    [InlineData("name: *a", "anchors")]
    [InlineData("name: !!int 3", "tags")]
    [InlineData("name: \"\\0\"", "NUL")]
    [InlineData("name: [", "line")]
    [InlineData("? [a]\n: b", "key")]
    public void What_makes_no_sense_is_refused(string text, string says)
    {
        var error = Assert.Throws<BootException>(() => ScenarioReader.Read(text, "s.yaml", "/"));
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
        Assert.StartsWith("s.yaml: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Deep_and_large_texts_are_refused_before_they_cost_anything()
    {
        Assert.Contains("nested", Assert.Throws<BootException>(() => ScenarioReader.Read("name: " + new string('[', 100_000), "s",
            "/")).Message, StringComparison.Ordinal);
        Assert.Contains("larger", Assert.Throws<BootException>(() => ScenarioReader.Read(new string('#', 300_000), "s",
            "/")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Mutated_scenarios_give_only_declared_errors()
    {
        var random = new Random(20261121);
        var good = Encoding.UTF8.GetBytes(Full);
        var read = 0;
        for (var round = 0; round < 3000; round++)
        {
            var bytes = new List<byte>(good);
            for (var change = random.Next(1, 6); change > 0; change--)
            {
                var at = random.Next(bytes.Count);
                switch (random.Next(4))
                {
                    case 0:
                        bytes[at] = (byte)random.Next(256);
                        break;
                    case 1:
                        bytes[at] = (byte)"{}[]:-&*!|>'\"%@`#,?\n\t \\0"[random.Next(24)];
                        break;
                    case 2:
                        bytes.RemoveRange(at, Math.Min(bytes.Count - at, random.Next(1, 20)));
                        break;
                    default:
                        bytes.InsertRange(at, bytes.GetRange(random.Next(bytes.Count / 2), random.Next(1, 20)));
                        break;
                }
            }

            try
            {
                ScenarioReader.Read(Encoding.UTF8.GetString([.. bytes]), "mutated", "/");
                read++;
            }
            catch (BootException)
            {
                // The declared one.
            }
        }

        Assert.True(read > 100, "the mutations destroy everything: the test tests nothing");
    }

    [Fact]
    public void The_scenarios_of_the_project_are_read()
    {
        var folder = Path.Combine(Repository.Root, "scenarios");
        var files = Directory.GetFiles(folder, "*.yaml");
        Assert.Contains(files, file => Path.GetFileName(file) == "e1000e-msix.yaml");
        foreach (var file in files)
        {
            var scenario = ScenarioReader.ReadFile(file);
            Assert.Equal(Path.GetFileNameWithoutExtension(file), scenario.Name);
            Assert.False(string.IsNullOrEmpty(scenario.Description));
        }

        var demo = ScenarioReader.ReadFile(Path.Combine(folder, "e1000e-msix.yaml"));
        Assert.Equal(["irq_msi_compose_msg", "request_threaded_irq"], demo.Tracepoints.ToArray());
        Assert.Equal(["e1000e"], demo.Initramfs!.Build!.Modules.ToArray());
    }
}
