using System.Text;
using KTrace.Boot.Images;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using KTrace.Tracing;

namespace KTrace.Tests.Fuzz;

/// <summary>
/// Names come from guests and from files. Whatever they hold, no verb writes a control character, a bidirectional override or half a UTF-8 sequence to stdout or
/// stderr: a terminal would obey it.
/// </summary>
public sealed class ControlCharacterTests : IDisposable
{
    // What the honest program is called, and what its names become: of the same length, so that nothing else moves.
    private static readonly (string Honest, byte[] Evil)[] s_names =
    [
        ("func_one", [.. "fu\u001b[2Jo"u8, (byte)'e']),
        ("func_two", [.. "fun\n0x4"u8, (byte)'o']),
        ("main", [(byte)'m', 0x1b, (byte)'i', (byte)'n']),
        ("variable", [.. "v\u202eiab"u8, .. "l"u8]),
        ("struct_a", [.. "stru\u009b"u8, .. "_a"u8]),
        ("member_a", [.. "mem\u0007er_"u8, 0xff]),
        ("argument", [.. "arg\u001b]0;"u8, 0x07]),
        ("evil.c", [.. "ev\u001bl"u8, .. ".c"u8]),
    ];

    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    private string Elf()
    {
        var source = _program.Write("evil.c", """
            struct struct_a { int member_a; } variable;
            static inline __attribute__((always_inline)) int func_two(int argument) { return argument * 3; }
            __attribute__((noinline)) int func_one(struct struct_a *argument) { return func_two(argument->member_a); }
            int main(void) { return func_one(&variable) + func_two(2); }
            """);
        PeerProgram.Run("gcc", ["-g", "-O1", "-no-pie", "-o", _program.PathOf("honest"), source]);
        var bytes = File.ReadAllBytes(_program.PathOf("honest"));
        foreach (var (honest, evil) in s_names)
        {
            Assert.Equal(honest.Length, evil.Length);
            byte[] wanted = [.. Encoding.ASCII.GetBytes(honest), 0];
            var found = 0;
            for (var at = bytes.AsSpan().IndexOf(wanted); at >= 0; at = bytes.AsSpan().IndexOf(wanted))
            {
                evil.CopyTo(bytes, at);
                found++;
            }

            Assert.True(found > 0, honest);
        }

        File.WriteAllBytes(_program.PathOf("evil"), bytes);
        return _program.PathOf("evil");
    }

    [Fact]
    public void No_symbol_question_writes_a_name_raw()
    {
        var elf = Elf();
        var addresses = PeerProgram.Run("nm", [_program.PathOf("honest")]).Split('\n').Select(l => l.Split(' ')).Where(w => w.Length == 3 && w[2] is "func_one" or "main" or "variable").Select(w => "0x" + w[0]).ToArray();
        Assert.Equal(3, addresses.Length);
        Clean("sym", "--vmlinux", elf, addresses[0], addresses[1]);
        Clean(["sym", "--vmlinux", elf, .. addresses]);
        Clean(["sym", "--vmlinux", elf, "--format", "addr2line", .. addresses]);
        Clean(["sym", "--vmlinux", elf, "--json", .. addresses]);
        Clean("sym", "--vmlinux", elf, "fu*");
        Clean("sym", "--vmlinux", elf, "fun\u001b[31mc");
        Clean("disas", "--vmlinux", elf, addresses[0]);
        Clean("disas", "--vmlinux", elf, "--json", addresses[0]);
        Clean("disas", "--vmlinux", elf, "fu");
        Clean("type", "--vmlinux", elf, "struct stru\u009b_a");
        Clean("type", "--vmlinux", elf, "--json", "struct stru\u009b_a");
        Clean("type", "--vmlinux", elf, "v\u202eiabl");
        Clean("type", "--vmlinux", elf, "struct struct_b");
    }

    [Fact]
    public void No_trace_verb_writes_a_guests_text_raw()
    {
        const string Evil = "e\u001b[2Jv\ni\rl\u202e\u009b\u0007";
        foreach (var (name, function) in ((string, string)[])[("a.ktrace", Evil), ("b.ktrace", "other" + Evil)])
        {
            using var writer = new TraceWriter(_program.PathOf(name));
            writer.Write(new TraceRecord.Header
            {
                Tool = Evil, Arch = "x86-64", Kernel = new TraceKernel(Evil, "00", Evil),
                Tracepoints = [new TraceTracepoint(1, Evil, Evil, TracepointState.Armed, Evil, 0x1000)],
            });
            writer.Write(new TraceRecord.Module(Evil, 0x1000, Evil, Evil));
            var frames = new CallPath([new TraceFrame(function, 4, Evil, Evil, 3, false, UnwindRule.Cfi), new TraceFrame(Evil + "2", 4, Evil, Evil, 3, true, null)]);
            writer.Write(new TraceRecord.Hit
            {
                Sequence = 1, Tracepoint = 1, Task = new TraceTask(1, Evil), Path = frames, PathEnd = new TraceEnd(TraceEndReason.EndOfStack),
            });
            writer.Write(new TraceRecord.Console(null, Evil));
            writer.Write(new TraceRecord.Note(Evil));
            writer.Write(new TraceRecord.Warning(Evil));
            writer.Write(new TraceRecord.End(1, Evil, 1));
        }

        Clean("show", "a.ktrace");
        Clean("show", "a.ktrace#1");
        Clean("show", "a.ktrace", "--stats");
        Clean("show", "a.ktrace", "--filter", "function=" + Evil);
        Clean("show", "a.ktrace", "--format", "json");
        Clean("show", "no" + Evil);
        Clean("diff", "a.ktrace", "b.ktrace");
        Clean("diff", "a.ktrace#1", "b.ktrace#1");
        Clean("diff", "a.ktrace", "b.ktrace", "--json");
    }

    [Fact]
    public void No_boot_verb_writes_a_files_text_raw()
    {
        const string Evil = "e\u001b[2Jv\u202e\u009b\u0007";
        var archive = new CpioArchive();
        archive.AddFile(Evil, "x"u8.ToArray());
        archive.AddSymbolicLink("link", Evil);
        using (var file = File.Create(_program.PathOf("evil.cpio")))
        {
            archive.WriteTo(file);
        }

        _program.Write("evil.yaml", $"name: \"{Evil.Replace("\u001b", "\\e", StringComparison.Ordinal).Replace("\u0007", "\\a", StringComparison.Ordinal)}\"\nkernel: \"no\\e[31m\"\ntracepoints: [\"\\e[2J\"]\nunknown\\e: 1\n");
        Clean("initramfs", "list", "evil.cpio");
        Clean("initramfs", "list", "--json", "evil.cpio");
        Clean("initramfs", "extract", "evil.cpio", "out");
        Clean("initramfs", "list", "no" + Evil);
        Clean("record", "evil.yaml", "-o", "x.ktrace");
        Clean("record", "--kernel", "no" + Evil, "-b", "x\u001b[2J", "-o", "x.ktrace");
        Clean("record", "no" + Evil);
        Clean("kernel", "list");
        Clean("no" + Evil);
        Clean("show", "--no" + Evil);
    }

    private void Clean(params string[] arguments)
    {
        // JSON for a program keeps what JSON may hold; for a terminal it is escaped, so there it must be asked.
        var run = arguments.Contains("--json") || arguments.Contains("json")
            ? KTraceProgram.Finish(_program.StartOnTerminal(200, KTraceProgram.InShell + string.Concat(arguments.Select(a => $" '{a}'")), "dumb"))
            : _program.Run(arguments);
        var what = string.Join(' ', arguments);
        foreach (var text in (string[])[run.Output.Replace("\r\n", "\n", StringComparison.Ordinal), run.Errors])
        {
            foreach (var rune in text.EnumerateRunes())
            {
                var isHarmful = rune.Value != '\n' && (Rune.IsControl(rune) || rune.Value is (>= 0x202a and <= 0x202e) or (>= 0x2066 and <= 0x2069) or 0x200e or 0x200f or 0x2028 or 0x2029);
                Assert.False(isHarmful, $"ktrace {what} wrote U+{rune.Value:x4} in: {text[..Math.Min(text.Length, 400)].Replace("\u001b", "<ESC>", StringComparison.Ordinal)}");
            }
        }

        Assert.True(run.Output.Length + run.Errors.Length > 0, what);
        Assert.DoesNotContain("Unhandled", run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Errors, StringComparison.Ordinal);
    }
}
