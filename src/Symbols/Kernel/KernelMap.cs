using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Kernel;

/// <summary>
/// What is loaded where: the kernel at its slide, and its modules. The only place where run-time addresses become link-time ones.
/// For one thread at a time.
/// </summary>
public sealed class KernelMap
{
    // Names of call sites repeat endlessly; the bound only guards against a guest that walks through everything.
    private const int MaximumCached = 1 << 16;

    private readonly Dictionary<ulong, IReadOnlyList<Frame>> _frames = [];
    private readonly Dictionary<(ulong Callee, ulong Caller), ImmutableArray<TailCallFrame>> _tailCalls = [];
    private readonly Dictionary<ulong, string> _names = [];
    private readonly KernelCalls _calls;
    private ImmutableArray<KernelModule> _modules = [];

    public KernelMap(KernelImage image, ulong slide)
    {
        Image = image;
        Slide = slide;
        _calls = new KernelCalls(this);
        Unwind = new UnwindTable(image.Architecture, [image.ForUnwinding(slide)]);
    }

    public KernelImage Image { get; }

    /// <summary>KASLR's displacement in bytes.</summary>
    public ulong Slide { get; }

    /// <summary>Loaded modules in load order.</summary>
    public ImmutableArray<KernelModule> Modules => _modules;

    /// <summary>Unwind rows of everything that is loaded.</summary>
    public UnwindTable Unwind { get; private set; }

    public ulong ToRunTime(ulong linkAddress) => Truncate(linkAddress + Slide);

    public ulong ToLinkTime(ulong runAddress) => Truncate(runAddress - Slide);

    /// <summary>
    /// Takes in a module that is being loaded. Where its text lies, nothing else can be any more: init text that was freed goes, and so do modules
    /// that must have been unloaded. Those are returned.
    /// </summary>
    public ImmutableArray<KernelModule> Load(KernelModule module)
    {
        var gone = ImmutableArray.CreateBuilder<KernelModule>();
        var kept = ImmutableArray.CreateBuilder<KernelModule>();
        var table = Unwind;
        foreach (var old in _modules)
        {
            var left = old.Name == module.Name ? null : old.Without(module.Text);
            if (left is null)
            {
                gone.Add(old);
                table = table.Without(old.Name);
            }
            else
            {
                kept.Add(left);
                table = left == old ? table : table.With(left.ForUnwinding(Image.Release));
            }
        }

        kept.Add(module);
        Replace(kept.ToImmutable(), table.With(module.ForUnwinding(Image.Release)));
        return gone.ToImmutable();
    }

    /// <summary>A module was unloaded; nothing lies at its addresses any more.</summary>
    /// <returns>The module; null when none of that name was known.</returns>
    public KernelModule? Unload(string name)
    {
        var module = _modules.FirstOrDefault(m => m.Name == name);
        if (module is not null)
        {
            Replace(_modules.Remove(module), Unwind.Without(name));
        }

        return module;
    }

    /// <summary>A module's init function has returned: its init text is freed.</summary>
    public void FreeInit(string name)
    {
        var module = _modules.FirstOrDefault(m => m.Name == name);
        if (module?.WithoutInit() is { } left && left != module)
        {
            Replace(_modules.Replace(module, left), Unwind.With(left.ForUnwinding(Image.Release)));
        }
    }

    private void Replace(ImmutableArray<KernelModule> modules, UnwindTable unwind)
    {
        (_modules, Unwind) = (modules, unwind);
        _frames.Clear();
        _tailCalls.Clear();
        _names.Clear();
        _calls.Forget();
    }

    /// <summary>The frames at an address, innermost first: inline functions, then the function itself. Never empty.</summary>
    /// <param name="address">A run-time address; for return addresses the one before (<see cref="UnwoundFrame.LookupAddress"/>).</param>
    public IReadOnlyList<Frame> Symbolize(ulong address)
    {
        if (_frames.TryGetValue(address, out var frames))
        {
            return frames;
        }

        frames = Shorten(Look(address));
        if (_frames.Count >= MaximumCached)
        {
            _frames.Clear();
        }

        _frames[address] = frames;
        return frames;
    }

    /// <summary>The function or variable at a run-time address: <c>init_task</c>, <c>init_task+0x40</c>; null when no loaded object has that address.</summary>
    public string? NameOf(ulong address)
    {
        if (_names.TryGetValue(address, out var known))
        {
            return known;
        }

        // Only what has a name is kept: of other addresses a guest has without end, and they are refused by the sections alone.
        if (FindName(address) is not { } name)
        {
            return null;
        }

        if (_names.Count >= MaximumCached)
        {
            _names.Clear();
        }

        return _names[address] = name;
    }

    private string? FindName(ulong address)
    {
        foreach (var module in _modules)
        {
            if (module.Symbols is { } symbols && NameIn(symbols, address) is { } name)
            {
                return name;
            }
        }

        return NameIn(Image.Symbols, ToLinkTime(address));
    }

    /// <summary>The bytes of the function at a run-time address, by its symbol; null when no sized function has that address.</summary>
    public Symbols.Unwind.AddressRange? FunctionRange(ulong address)
    {
        foreach (var (symbols, bias) in _modules.Select(m => (m.Symbols, 0UL)).Append((Image.Symbols, Slide)))
        {
            if (symbols is not null && symbols.TryFindNearest(Truncate(address - bias), out ElfSymbol symbol) && symbol.Size > 0
                && Truncate(address - bias) - symbol.Value < symbol.Size)
            {
                var start = Truncate(symbol.Value + bias);
                return new Symbols.Unwind.AddressRange(start, start + symbol.Size);
            }
        }

        return null;
    }

    private static string? NameIn(ElfSymbolTable symbols, ulong address)
    {
        if (!symbols.TryFindSection(address, out _, out _) || !symbols.TryFindNearest(address, out ElfSymbol symbol)
            || (symbol.Size > 0 && address - symbol.Value >= symbol.Size))
        {
            return null;
        }

        return address == symbol.Value ? symbol.Name : $"{symbol.Name}+0x{address - symbol.Value:x}";
    }

    /// <summary>The function that begins at a run-time address, as DWARF declares it; null when DWARF has none there.</summary>
    public FunctionExtent? FunctionAt(ulong entry)
    {
        var module = ModuleAt(entry);
        var address = module is null ? ToLinkTime(entry) : entry;
        return (module is null ? Image.Symbolizer : module.Symbolizer)?.FindFunctionAt(address) is { } function && function.LowPc == address ? function : null;
    }

    /// <summary>
    /// The functions that ran between two neighbours on the stack and left no stack frame, as each ended with a jump to the next (a tail call),
    /// innermost first. Only those that must have run: where several ways lead from the call to the callee, what they do not share is left out.
    /// Empty for a frame that was interrupted, and where DWARF does not tell.
    /// </summary>
    /// <param name="callee">The inner of the two.</param>
    /// <param name="caller">The frame that it returns to.</param>
    public ImmutableArray<TailCallFrame> TailCallsBetween(UnwoundFrame callee, UnwoundFrame caller) =>
        caller.IsCall ? TailCallsBetween(callee.LookupAddress, caller.ProgramCounter) : [];

    /// <inheritdoc cref="TailCallsBetween(UnwoundFrame, UnwoundFrame)"/>
    /// <param name="callee">The inner one's <see cref="UnwoundFrame.LookupAddress"/>.</param>
    /// <param name="returnAddress">Into the outer one.</param>
    public ImmutableArray<TailCallFrame> TailCallsBetween(ulong callee, ulong returnAddress)
    {
        var key = (callee, returnAddress);
        if (_tailCalls.TryGetValue(key, out var frames))
        {
            return frames;
        }

        frames = [.. _calls.Between(returnAddress, callee).Reverse().Select(ToFrame)];
        if (_tailCalls.Count >= MaximumCached)
        {
            _tailCalls.Clear();
        }

        _tailCalls[key] = frames;
        return frames;
    }

    /// <summary>Who calls whom.</summary>
    internal KernelCalls Calls => _calls;

    internal KernelModule? ModuleAt(ulong address)
    {
        foreach (var module in _modules)
        {
            foreach (var range in module.Text)
            {
                if (range.Contains(address))
                {
                    return module;
                }
            }
        }

        return null;
    }

    /// <summary>The global function or variable of that name, wherever it is loaded, at its run-time address: what a module's undefined symbol means.</summary>
    internal ulong? FindGlobal(string name) => _calls.FindGlobal(name);

    private TailCallFrame ToFrame(TailCall call)
    {
        var names = Symbolize(call.LookupAddress);
        return new TailCallFrame(call.ReturnAddress, [.. names.SkipLast(1), names[^1] with { IsTailCall = true }]);
    }

    private IReadOnlyList<Frame> Shorten(IReadOnlyList<Frame> frames)
    {
        if (!frames.Any(f => f.Source?.File.StartsWith('/') == true))
        {
            return frames;
        }

        return [.. frames.Select(f => f.Source is { } source ? f with { Source = source with { File = Image.ShortPath(source.File) } } : f)];
    }

    private IReadOnlyList<Frame> Look(ulong address)
    {
        if (ModuleAt(address) is { } module)
        {
            return module.Symbolizer?.Symbolize(address) is { Count: > 0 } inModule
                ? inModule
                : [new Frame($"0x{address:x}", address - module.TextBase, module.Name, null, false)];
        }

        return Image.Symbolizer.Symbolize(ToLinkTime(address)) is { Count: > 0 } inKernel
            ? inKernel
            : [new Frame($"0x{address:x}", 0, null, null, false)];
    }

    private ulong Truncate(ulong address) => Image.Architecture.WordSize == 4 ? (uint)address : address;
}

/// <summary>A function that has no stack frame of its own, as it ended with a jump.</summary>
/// <param name="ProgramCounter">The address behind the jump, as if it were a call that will return.</param>
/// <param name="Frames">As of any address: what was inlined around the jump, innermost first, then the function, which is marked.</param>
public sealed record TailCallFrame(ulong ProgramCounter, ImmutableArray<Frame> Frames);
