using System.Text;
using KTrace.Tests.Support;
using KTrace.Tests.Tracing;

namespace KTrace.Tests.Cli;

/// <summary>Files and programs that are not what they should be: said in a line, with exit code 2, and where possible before anything boots.</summary>
[Collection(nameof(BootsCollection))]
public sealed class BadInputTests : IDisposable
{
    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    [Theory]
    [InlineData("stripped", "the file is stripped")]
    [InlineData("truncated", "is it truncated?")]
    [InlineData("empty", "not an ELF file")]
    [InlineData("text", "not an ELF file")]
    [InlineData("folder", "there is no such vmlinux")]
    [InlineData("missing", "there is no such vmlinux")]
    [InlineData("big-endian", "big-endian")]
    public void A_vmlinux_that_is_of_no_use_is_named_before_anything_boots(string what, string message)
    {
        var file = _program.PathOf("vmlinux-" + what);
        switch (what)
        {
            case "stripped": PeerProgram.Run("strip", ["--strip-all", "-o", file, StockKernel.Vmlinux]); break;
            case "truncated": File.WriteAllBytes(file, Beginning()); break;
            case "empty": File.WriteAllText(file, ""); break;
            case "text": File.WriteAllText(file, "hello\n"); break;
            case "folder": Directory.CreateDirectory(file); break;
            case "big-endian":
                var bytes = Beginning();
                bytes[5] = 2;
                File.WriteAllBytes(file, bytes);
                break;
        }

        var run = Record("--kernel", StockKernel.Vmlinuz, "--vmlinux", file);

        Fails(run, message);
        Assert.Contains(file, run.Errors);
    }

    [Fact]
    public void A_vmlinux_of_another_release_is_found_before_the_boot_and_one_of_another_build_in_guest_memory()
    {
        var other = _program.PathOf("vmlinux-other");
        File.Copy(StockKernel.Vmlinux, other);
        var buildId = KTrace.Symbols.Kernel.KernelImage.Open(StockKernel.Vmlinux).BuildId.ToArray();
        var changed = (byte[])[0xde, 0xad, 0xbe, 0xef, .. buildId[4..]];
        Patch(other, buildId, changed);

        var build = Record("--kernel", StockKernel.Vmlinuz, "--vmlinux", other);

        Fails(build, "is not the kernel that the guest runs");
        Assert.Contains("of build " + Convert.ToHexStringLower(changed), build.Errors);
        Assert.Contains("build " + Convert.ToHexStringLower(buildId), build.Errors);

        Patch(other, Encoding.ASCII.GetBytes("Linux version " + StockKernel.Release), Encoding.ASCII.GetBytes("Linux version 9" + StockKernel.Release[1..]));
        var release = Record("--kernel", StockKernel.Vmlinuz, "--vmlinux", other);

        Fails(release, "they are not of one build");
        Assert.Contains("is 9" + StockKernel.Release[1..], release.Errors);
    }

    [Theory]
    [InlineData("--initrd", "/nowhere/initrd", "there is no such initramfs")]
    [InlineData("--kernel", "/nowhere/bzImage", "there is no such kernel image")]
    [InlineData("--kernel", "text", "not a bootable kernel image")]
    [InlineData("--machine", "no-such-machine", "unsupported machine type")]
    [InlineData("--nic", "no-such-card", "no-such-card")]
    [InlineData("--cpu", "no-such-cpu", "no-such-cpu")]
    public void What_cannot_be_booted_is_said_with_the_words_of_who_knows(string option, string value, string message)
    {
        _program.Write("text", "hello\n");
        string[] kernel = option == "--kernel" ? [] : ["--kernel", StockKernel.Vmlinuz];
        Fails(_program.Run(["record", "--vmlinux", StockKernel.Vmlinux, "-b", "schedule", .. kernel, option, value]), message);
    }

    [Theory]
    [InlineData("request_threded_irq", "near names: request_threaded_irq", "-b request_threaded_irq")]
    [InlineData("e1000e:e1000_opn", "near names: e1000e_open", "-b e1000e:e1000e_open")]
    [InlineData("nomod:foo", "no .ko file of module nomod", "-b foo")]
    [InlineData("nope.c:request_threaded_irq", "from nope.c", "kernel/irq/manage.c:request_threaded_irq")]
    [InlineData("core.c:type_show", "exists 3 times", "  0xffffffff", "kernel/events/core.c:type_show")]
    [InlineData("type_show", "… and 5 more", "-b arch/x86/kernel/ksysfs.c:type_show")]
    [InlineData("cleanup_module", "modules:\n", "  e1000e:cleanup_module")]
    [InlineData("jiffies", "is data, not code")]
    [InlineData("0x10", "lies in no function")]
    [InlineData("do_init_module+0x1000", "lies behind do_init_module")]
    public void A_symbol_that_is_not_one_place_is_explained(string tracepoint, params string[] messages)
    {
        var run = _program.Run("record", "e1000e-msix", "-b", tracepoint);

        Fails(run, messages[0]);
        Assert.All(messages, m => Assert.Contains(m, run.Errors));
    }

    [Fact]
    public void A_qemu_that_never_answers_is_given_up()
    {
        // Found by its own id: other tests boot the same kernel meanwhile.
        Fake($"echo $$ > '{_program.PathOf("pid")}'; exec sleep 1000");
        Fails(Record("--kernel", StockKernel.Vmlinuz, "--vmlinux", StockKernel.Vmlinux, "--timeout", "1"), "qemu-system-x86_64 did not answer within 1 s");
        Assert.False(Directory.Exists("/proc/" + File.ReadAllText(_program.PathOf("pid")).Trim()));
    }

    [Fact]
    public void A_qemu_that_dies_at_once_is_quoted()
    {
        Fake("echo \"my disk is on fire: $(printf '\\033[2J')\" >&2; exit 3");
        var run = Record("--kernel", StockKernel.Vmlinuz, "--vmlinux", StockKernel.Vmlinux);
        Fails(run, "ended at once (exit code 3): my disk is on fire: \\x1b[2J");
        Assert.DoesNotContain("\u001b", run.Errors);
    }

    [Fact]
    public void Show_opens_a_trace_that_is_cut_off_and_says_so()
    {
        GdbReference.Write(_program.PathOf("whole.ktrace"));
        var bytes = File.ReadAllBytes(_program.PathOf("whole.ktrace"));
        var end = bytes.AsSpan()[..^1].LastIndexOf((byte)'\n');
        File.WriteAllBytes(_program.PathOf("growing.ktrace"), bytes[..(end + 1)]);
        File.WriteAllBytes(_program.PathOf("cut.ktrace"), bytes[..(end + 20)]);
        File.WriteAllBytes(_program.PathOf("noise.ktrace"), [.. bytes[..200], 0xff, 0xfe]);

        var whole = _program.Run("show", "whole.ktrace");
        var growing = _program.Run("show", "growing.ktrace");
        var cut = _program.Run("show", "cut.ktrace");
        var noise = _program.Run("show", "noise.ktrace");

        Assert.Equal((0, ""), (whole.ExitCode, whole.Errors));
        Assert.Equal((0, whole.Output), (growing.ExitCode, growing.Output));
        Assert.Contains("still running", growing.Errors);
        Assert.Equal((0, whole.Output), (cut.ExitCode, cut.Output));
        Assert.Contains("its last line is incomplete", cut.Errors);
        Fails(noise, "noise.ktrace");
        Fails(_program.Run("show", "nothing.ktrace"), "there is no such file");
        Fails(_program.Run("show", "whole.ktrace#99"), "99");
    }

    private static void Fails(KTraceRun run, string message)
    {
        Assert.Equal("", run.Output);
        Assert.Contains(message, run.Errors);
        Assert.Equal(2, run.ExitCode);
        Assert.DoesNotContain("   at ", run.Errors);
        Assert.DoesNotContain("internal error", run.Errors);
    }

    private KTraceRun Record(params string[] arguments) => _program.Run(["record", "-b", "request_threaded_irq", "-o", "x.ktrace", .. arguments]);

    private static byte[] Beginning()
    {
        using var file = File.OpenRead(StockKernel.Vmlinux);
        var bytes = new byte[1 << 20];
        file.ReadExactly(bytes);
        return bytes;
    }

    private void Fake(string script)
    {
        var folder = Directory.CreateDirectory(_program.PathOf("bin")).FullName;
        File.WriteAllText(Path.Combine(folder, "qemu-system-x86_64"), "#!/bin/sh\n" + script + "\n");
        File.SetUnixFileMode(Path.Combine(folder, "qemu-system-x86_64"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _program.Environment["PATH"] = folder + ":" + Environment.GetEnvironmentVariable("PATH");
    }

    /// <summary>Replaces bytes everywhere in a file that is too large to be loaded.</summary>
    private static void Patch(string file, byte[] from, byte[] to)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite);
        var window = new byte[(1 << 20) + from.Length];
        var patched = 0;
        for (long at = 0; at < stream.Length; at += 1 << 20)
        {
            stream.Position = at;
            var length = stream.ReadAtLeast(window, window.Length, throwOnEndOfStream: false);
            for (var found = window.AsSpan(0, length).IndexOf(from); found >= 0; found = window.AsSpan(0, length).IndexOf(from))
            {
                to.CopyTo(window, found);
                stream.Position = at + found;
                stream.Write(to);
                patched++;
            }
        }

        Assert.True(patched > 0);
    }
}
