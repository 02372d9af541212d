using KTrace.Boot;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;

namespace KTrace.Tests.Boot;

public sealed class QemuCommandLineTests
{
    private static readonly string[] Plumbing =
    [
        "-S", "-gdb", "unix:/run/x/gdb.sock,server=on,wait=off",
        "-chardev", "socket,id=ktrace-console,path=/run/x/console.sock,server=off", "-serial", "chardev:ktrace-console",
        "-chardev", "socket,id=ktrace-qmp,path=/run/x/qmp.sock,server=off", "-mon", "chardev=ktrace-qmp,mode=control", "-monitor",
        "none",
    ];

    [Fact]
    public void The_demo_is_started_with_exactly_these_arguments()
    {
        using var folder = new TemporaryFolder();
        var kernel = folder.Write("vmlinuz", "");
        var initramfs = folder.Write("initramfs", "");
        var demo = ScenarioReader.ReadFile(Path.Combine(Repository.Root, "scenarios", "e1000e-msix.yaml"));
        var line = QemuCommandLine.For(demo, kernel, initramfs, ["-d", "int"]);
        Assert.Equal("qemu-system-x86_64", line.Program);
        Assert.Equal(
            [
                "-machine", "q35", "-accel", "tcg", "-m", "512M", "-smp", "1", "-kernel", kernel, "-initrd", initramfs, "-append",
                "console=ttyS0 nokaslr no_timer_check",
                "-netdev", "user,id=net0", "-device", "e1000e,netdev=net0", "-display", "none", "-no-reboot",
                "-object", "memory-backend-memfd,id=pc.ram,share=on,size=512M", "-machine", "memory-backend=pc.ram", .. Plumbing, "-d", "int",
            ],
            line.Arguments("/run/x"));
        Assert.EndsWith("-append 'console=ttyS0 nokaslr no_timer_check' -netdev user,id=net0 -device e1000e,netdev=net0 -display none -no-reboot -d int", line.ToShell(), StringComparison.Ordinal);
    }

    [Fact]
    public void Every_part_of_a_machine_has_its_argument()
    {
        using var folder = new TemporaryFolder();
        var disk = folder.Write("a,b.img", "");
        var scenario = new Scenario
        {
            Architecture = "i386",
            Machine = "pc",
            Cpu = "max",
            Memory = 64,
            Cpus = 2,
            Nics = [new("e1000", "user,hostfwd=tcp::5555-:22", "52:54:00:00:00:01"), new("rtl8139", "none")],
            Drives = [new(disk), new(disk, "qcow2", "ide", ReadOnly: true)],
            Cdrom = disk,
            Bios = disk,
            QemuArgs = ["-icount", "shift=auto"],
        };
        var line = QemuCommandLine.For(scenario, null, null, ["-last"]);
        Assert.Equal("qemu-system-i386", line.Program);
        Assert.Equal(
            [
                "-machine", "pc", "-accel", "tcg", "-m", "64M", "-smp", "2", "-cpu", "max", "-netdev",
                "user,id=net0,hostfwd=tcp::5555-:22", "-device",
                "e1000,netdev=net0,mac=52:54:00:00:00:01", "-device", "rtl8139", "-drive",
                $"file={folder.Path}/a,,b.img,format=raw,if=virtio,snapshot=on",
                "-drive", $"file={folder.Path}/a,,b.img,format=qcow2,if=ide,readonly=on", "-cdrom", disk, "-bios", disk,
                "-display", "none", "-no-reboot",
            ],
            line.Guest.ToArray());
        Assert.Equal(["-icount", "shift=auto", "-last"], line.Arguments("/run/x").TakeLast(3));
    }

    [Fact]
    public void Without_a_network_card_in_the_scenario_the_guest_has_none_and_a_cd_alone_is_booted()
    {
        using var folder = new TemporaryFolder();
        var arguments = string.Join(' ', QemuCommandLine.For(new Scenario { Cdrom = folder.Write("cd.iso", "") }, null,
            null).Guest);
        Assert.Contains("-nic none", arguments, StringComparison.Ordinal);
        Assert.Contains("-boot d", arguments, StringComparison.Ordinal);
    }

    [Fact]
    public void The_users_accelerator_replaces_ours()
    {
        Assert.Contains("-accel", QemuCommandLine.For(new Scenario(), null, null, ["-cdrom", "x"]).Guest);
        Assert.DoesNotContain("-accel", QemuCommandLine.For(new Scenario(), null, null, ["-accel", "kvm"]).Guest);
        Assert.DoesNotContain("-accel", QemuCommandLine.For(new Scenario { QemuArgs = ["-enable-kvm"] }, null, null).Guest);
    }

    [Theory]
    [InlineData(true, "-machine", "q35,accel=tcg")]
    [InlineData(true, "-object", "filter-replay,id=replay,netdev=n0")]
    [InlineData(true, "-append", "mem=100M -m")]
    [InlineData(false, "-m", "1G")]
    [InlineData(false, "--m", "1G")]
    [InlineData(false, "-object", "memory-backend-ram,id=mine,size=512M")]
    [InlineData(false, "-M", "q35,memory-backend=mine")]
    [InlineData(false, "-numa", "node")]
    [InlineData(false, "-mem-path", "/dev/hugepages")]
    [InlineData(false, "-incoming", "defer")]
    [InlineData(false, "-loadvm", "before")]
    public void RAM_is_shared_unless_the_users_own_arguments_decide_it(bool shared, params string[] extra)
    {
        var line = QemuCommandLine.For(new Scenario { Memory = 300 }, null, null, extra);
        Assert.Equal(shared ? 300 : null, line.SharedRam);
        Assert.Equal(shared, line.Arguments("/run/x").Contains("memory-backend=pc.ram"));
        Assert.DoesNotContain("pc.ram", line.ToShell(), StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_missing_is_named()
    {
        Assert.Contains("nothing to boot",
            Assert.Throws<BootException>(() => QemuCommandLine.For(new Scenario(), null, null)).Message,
            StringComparison.Ordinal);
        Assert.Contains("/no/vmlinuz", Assert.Throws<BootException>(() => QemuCommandLine.For(new Scenario(), "/no/vmlinuz",
            null)).Message, StringComparison.Ordinal);
        Assert.Contains("vax", Assert.Throws<BootException>(() => QemuCommandLine.For(new Scenario { Architecture = "vax" }, null,
            null)).Message, StringComparison.Ordinal);
    }
}
