using System.Collections.Immutable;
using System.Diagnostics;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols;

/// <summary>Tail calls as gcc describes them, in DWARF 5 and in GNU's extension of DWARF 4.</summary>
public sealed class TailCallsCompilerTests : IDisposable
{
    private const string Source = """
        #define F __attribute__((noipa, noinline))
        extern int (*pointer)(int);
        static volatile int sink;
        F int leaf(int x) { sink = x; return x; }
        extern int alias(int);
        __asm__(".globl alias\n.set alias, leaf\n");
        extern int unnamed(int) __attribute__((alias("leaf")));
        F int middle(int x) { sink++; return leaf(x + 1); }
        F int outer(int x) { sink += 2; return middle(x + 2); }
        F int by_alias(int x) { sink += 3; return alias(x + 7); }
        F int by_unnamed(int x) { sink += 5; return unnamed(x + 8); }
        F int two_ways(int x) { if (sink) return middle(x); return outer(x); }
        F int by_pointer(int x) { if (sink) return leaf(x + 1); return pointer(x); }
        F int loop(int x);
        F int loop_back(int x) { sink++; return loop(x - 2); }
        F int loop(int x) { if (sink) return leaf(x); return loop_back(x); }
        static inline __attribute__((always_inline)) int inlined(int x) { sink += 9; return leaf(x ^ 3); }
        F int through_inline(int x) { sink += 4; return inlined(x); }
        int (*pointer)(int) = leaf;
        F int call_leaf(int x) { return leaf(x) + 1; }
        F int call_outer(int x) { return outer(x) + 1; }
        F int call_by_alias(int x) { return by_alias(x) + 1; }
        F int call_by_unnamed(int x) { return by_unnamed(x) + 1; }
        F int call_two_ways(int x) { return two_ways(x) + 1; }
        F int call_by_pointer(int x) { return by_pointer(x) + 1; }
        F int call_pointer(int x) { return pointer(x) + 1; }
        F int call_loop(int x) { return loop(x) + 1; }
        F int call_through_inline(int x) { return through_inline(x) + 1; }
        F int call_into_assembly(int x) { extern int in_assembly(int); return in_assembly(x) + 1; }
        __asm__(".globl in_assembly\n.type in_assembly, @function\nin_assembly: jmp leaf\n.size in_assembly, . - in_assembly\n");
        void _start(void) { for (;;) ; }
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("ktrace-tail-calls-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("-gdwarf-5")]
    [InlineData("-gdwarf-4")]
    public void Functions_that_jumped_on_are_found_where_they_are_certain(string dwarf)
    {
        var map = new KernelMap(KernelImage.Open(Compile(dwarf)), 0x200000);

        Assert.Equal("", Between(map, "call_leaf"));
        Assert.Equal("middle outer", Between(map, "call_outer"));
        Assert.Equal("by_alias", Between(map, "call_by_alias"));
        Assert.Equal("middle", Between(map, "call_two_ways"));
        Assert.Equal("loop", Between(map, "call_loop"));
        Assert.Equal("inlined(inline) through_inline", Between(map, "call_through_inline"));
        // A pointer, and code that nobody described, may lead anywhere; of an alias in the same file gcc does not say what it is.
        Assert.Equal("", Between(map, "call_by_unnamed"));
        Assert.Equal("", Between(map, "call_by_pointer"));
        Assert.Equal("", Between(map, "call_pointer"));
        Assert.Equal("", Between(map, "call_into_assembly"));
    }

    [Fact]
    public void A_frame_that_was_interrupted_called_nobody()
    {
        var map = new KernelMap(KernelImage.Open(Compile("-gdwarf-5")), 0);
        var caller = FrameAt(map, ReturnAddress(map, "call_outer"));

        Assert.NotEmpty(map.TailCallsBetween(FrameAt(map, Start(map, "leaf")), caller));
        Assert.Empty(map.TailCallsBetween(FrameAt(map, Start(map, "leaf")), caller with { IsCall = false }));
    }

    [Fact]
    public void Damaged_debug_information_invents_no_error()
    {
        var path = Compile("-gdwarf-5");
        var whole = KernelImage.Open(path);
        var sections = whole.File.Sections.Where(s => s.Name is ".debug_info" or ".debug_abbrev" or ".debug_aranges" or ".debug_str" or ".symtab").ToArray();
        var bytes = File.ReadAllBytes(path);
        var starts = sections.Select(s => bytes.AsSpan().IndexOf(s.Data.Span)).ToArray();
        string[] callers = ["call_outer", "call_two_ways", "call_loop", "call_by_pointer"];
        var original = new KernelMap(whole, 0);
        var pairs = callers.Select(name => (Callee: FrameAt(original, Start(original, "leaf")), Caller: FrameAt(original, ReturnAddress(original, name)))).ToArray();
        var random = new Random(4711);
        var mutant = Path.Combine(_folder, "mutant");
        var different = 0;
        for (var round = 0; round < 2000; round++)
        {
            var changed = (byte[])bytes.Clone();
            for (var i = random.Next(1, 6); i > 0; i--)
            {
                var section = random.Next(sections.Length);
                changed[starts[section] + random.Next((int)sections[section].Size)] = random.Next(3) switch
                {
                    0 => 0xff,
                    1 => 0,
                    _ => (byte)random.Next(256),
                };
            }

            File.WriteAllBytes(mutant, changed);
            KernelMap map;
            try
            {
                map = new KernelMap(KernelImage.Open(mutant), 0);
            }
            catch (MalformedFileException)
            {
                continue;
            }

            foreach (var (callee, caller) in pairs)
            {
                different += map.TailCallsBetween(callee, caller).SelectMany(call => call.Frames).SequenceEqual(
                    original.TailCallsBetween(callee, caller).SelectMany(call => call.Frames)) ? 0 : 1;
            }
        }

        Assert.True(different > 100, $"{different}: the damage is no test");
    }

    private static string Between(KernelMap map, string caller)
    {
        var calls = map.TailCallsBetween(FrameAt(map, Start(map, "leaf")), FrameAt(map, ReturnAddress(map, caller)));
        Assert.All(calls, call => Assert.True(call.Frames[^1] is { IsTailCall: true, IsInline: false, Source.File: "tail.c" }));
        return string.Join(' ', calls.SelectMany(call => call.Frames).Select(frame => frame.Function + (frame.IsInline ? "(inline)" : "")));
    }

    private static ulong Start(KernelMap map, string name) => map.ToRunTime(Symbol(map, name).Value);

    private static ElfSymbol Symbol(KernelMap map, string name) => Assert.Single(map.Image.Symbols.Find(name)).Symbol;

    /// <summary>Behind the one call of a function.</summary>
    private static ulong ReturnAddress(KernelMap map, string name)
    {
        var calls = new CallSites(map.Image.Symbolizer);
        Assert.True(calls.TryFindFunction(Symbol(map, name).Value, out var function));
        return map.ToRunTime(Assert.Single(calls.Of(in function).Sites, site => !site.IsTailCall).ReturnAddress);
    }

    private static UnwoundFrame FrameAt(KernelMap map, ulong pc)
    {
        var registers = new RegisterSet(X86_64.Instance) { [X86_64.Rip] = pc };
        return new UnwoundFrame(registers, UnwindRule.Cfi, IsCall: pc != Start(map, "leaf"));
    }

    private string Compile(string dwarf)
    {
        File.WriteAllText(Path.Combine(_folder, "tail.c"), Source);
        var start = new ProcessStartInfo("gcc") { WorkingDirectory = _folder, RedirectStandardError = true };
        foreach (var argument in (string[])["-O2", "-g", dwarf, "-fno-pie", "-no-pie", "-fcf-protection=none", "-nostdlib", "-static", "-o", "tail", "tail.c"])
        {
            start.ArgumentList.Add(argument);
        }

        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
        return Path.Combine(_folder, "tail");
    }
}
