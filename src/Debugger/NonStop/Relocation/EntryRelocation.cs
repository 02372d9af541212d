using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>Plans to move functions' first instructions, in a kernel and its modules. Each object's code is read once, when it is first asked about: a second or two for a distribution's kernel. For one thread at a time.</summary>
public sealed class EntryRelocation(KernelImage image)
{
    private readonly Lazy<RelocatableCode> _kernel = new(() => RelocatableCode.Of(image), LazyThreadSafetyMode.None);
    private readonly Dictionary<string, (KernelModule Module, RelocatableCode? Code)> _modules = new(StringComparer.Ordinal);

    /// <summary>Whether those of a kernel's function can be moved.</summary>
    /// <param name="entry">At link time.</param>
    public bool CanMove(ulong entry) => RelocatedEntry.TryPlan(_kernel.Value, entry, out _, out _);

    /// <param name="entry">At link time in the kernel, at run time in a module.</param>
    /// <returns>The plan, or why there is none, in words for people.</returns>
    public (RelocationPlan? Plan, string? WhyNot) Plan(ulong entry, KernelModule? module)
    {
        var code = module is null ? _kernel.Value : Of(module);
        if (code is null)
        {
            return (null, "no file of the module is known");
        }

        return RelocatedEntry.TryPlan(code, entry, out var plan, out var whyNot) ? (plan, null) : (null, whyNot);
    }

    private RelocatableCode? Of(KernelModule module)
    {
        // Another load of the same module lies elsewhere.
        if (!_modules.TryGetValue(module.Name, out var known) || known.Module.Symbolizer != module.Symbolizer)
        {
            _modules[module.Name] = known = (module, RelocatableCode.Of(module));
        }

        return known.Code;
    }
}
