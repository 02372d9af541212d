using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tests.Symbols.Unwind;

namespace KTrace.Benchmarks;

/// <summary>A stop of the stock kernel, and everything that answers questions about it: what the debugger does at a hit, without a guest.</summary>
internal sealed class CapturedStop : IValueScope
{
    private static readonly PrintOptions Options = new() { MaximumLength = 120, MaximumDepth = 1, MaximumBytes = 4 << 10 };

    private readonly StackCapture _capture;
    private readonly FrameVariables _variables;

    public CapturedStop(string capture, string root)
    {
        _capture = StackCapture.Parse(File.ReadAllText(capture));
        var release = _capture.Release;
        Map = new KernelMap(KernelImage.Open(Path.Combine(root, "usr/lib/debug/boot", "vmlinux-" + release)), 0);
        foreach (var (name, sections) in _capture.Modules)
        {
            string[] folders = [Path.Combine(root, "usr/lib/debug/lib/modules", release), Path.Combine(root, "lib/modules", release)];
            Map.Load(KernelModule.Load(name, Map.Image.Architecture, sections,
                [.. folders.Select(f => ElfFile.Open(Directory.EnumerateFiles(f, name + ".ko", SearchOption.AllDirectories).First()))]));
        }

        _variables = new FrameVariables(Map) { Recovery = new FrameRecovery(Map) };
        Types = new RememberedTypes(new KernelTypes(Map));
    }

    public KernelMap Map { get; }

    public Architecture Architecture => Map.Image.Architecture;

    public ITypeSource Types { get; }

    public IMemoryReader Memory => _capture;

    public string? NameOf(ulong address) => Map.NameOf(address);

    public UnwindResult Unwind() => StackUnwinder.Unwind(_capture.Registers, _capture, Map.Unwind);

    /// <summary>Unwinds and names; returns the number of names, inlined functions and tail calls included.</summary>
    public int Name(out UnwindResult stack)
    {
        stack = Unwind();
        var names = 0;
        UnwoundFrame? inner = null;
        foreach (var frame in stack.Frames)
        {
            if (inner is not null)
            {
                foreach (var left in Map.TailCallsBetween(inner, frame))
                {
                    names += left.Frames.Length;
                }
            }

            names += Map.Symbolize(frame.LookupAddress).Count;
            inner = frame;
        }

        return names;
    }

    /// <summary>The same with every argument of every frame; returns how many there are.</summary>
    public int NameWithArguments()
    {
        Name(out var stack);
        var arguments = 0;
        foreach (var frame in _variables.ArgumentsOf(stack, _capture))
        {
            arguments += frame.Length;
        }

        return arguments;
    }

    /// <summary>The same and what a person reads of each argument, as a recording keeps it; returns the number of characters.</summary>
    public int NameAndPrint()
    {
        Name(out var stack);
        var characters = 0;
        foreach (var frame in _variables.ArgumentsOf(stack, _capture))
        {
            foreach (var argument in frame)
            {
                characters += argument.Value is { } value ? ValuePrinter.Print(new NamedValue(argument.Name, value, null), this, Options).Text.Length : 0;
            }
        }

        return characters;
    }

    /// <summary>What a person reads: a line for each name, with arguments.</summary>
    public void Print(TextWriter output)
    {
        Name(out var stack);
        var arguments = _variables.ArgumentsOf(stack, _capture);
        var next = 0;
        UnwoundFrame? inner = null;
        foreach (var frame in stack.Frames)
        {
            var names = inner is null ? [] : Map.TailCallsBetween(inner, frame).SelectMany(t => t.Frames);
            foreach (var name in names.Concat(Map.Symbolize(frame.LookupAddress)))
            {
                var values = next < arguments.Length ? arguments[next] : [];
                next++;
                output.WriteLine($"#{next - 1} {name.Function} ({string.Join(", ", values.Select(v => Text(v, name.Function)))}) at {name.Source?.File}:{name.Source?.Line}");
            }

            inner = frame;
        }

        output.WriteLine(stack.Stop);
    }

    public void WriteCore(string path) => CoreFile.Write(path, _capture.Registers, _capture.Blocks);

    private string Text(FrameVariable variable, string function) => variable.Value is null ? $"{variable.Name}=<optimized out>"
        : $"{variable.Name}={ValuePrinter.Print(new NamedValue(variable.Name, variable.Value, function), this, Options).Text}";
}
