using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>
/// Makes conditions that the guest asks itself, before it writes anything down. They hold for the calls for which <see cref="Expression.EvaluateCondition"/> holds at a stop at the same entry; what that needs and a
/// trampoline has not got (other frames, more than eight places in memory, arithmetic wider than a register) is refused. Addresses of the kernel are those of its file: it may be asked before anything boots. For one
/// thread at a time.
/// </summary>
public sealed class ConditionCompiler
{
    private readonly KernelMap _map;
    private readonly RememberedTypes _types;
    private readonly FrameVariables _variables;
    private readonly EntryPlaces _places;
    private KernelModule? _loaded;

    public ConditionCompiler(KernelImage kernel)
    {
        _map = new KernelMap(kernel, 0);
        _types = new RememberedTypes(new KernelTypes(_map));
        _variables = new FrameVariables(_map);
        _places = new EntryPlaces(_map, _types, _variables);
    }

    /// <summary>Compiles a condition for the parameters of one function.</summary>
    /// <param name="place">The function's entry: at its link-time address in the kernel, where it runs in a module.</param>
    /// <param name="module">The module that it lies in; null for the kernel.</param>
    /// <returns>The condition; or why it cannot be asked without stopping the machine, in words for people.</returns>
    public (CompiledCondition? Compiled, string? WhyNot) Compile(CodePlace place, KernelModule? module, Expression condition)
    {
        Load(module);
        try
        {
            var scope = ScopeAt(place.Address, module);
            var taskSize = _types.FindType(TypeTag.Struct, "task_struct")?.Size ?? 0;
            var node = new ConditionLowering(condition.Source, scope).Condition(condition.RootFor(scope));
            return (new CompiledCondition(condition.Text, new StepWriter(taskSize).Write(node)), null);
        }
        catch (UncompilableException e)
        {
            return (null, e.Message);
        }
        catch (MalformedFileException e)
        {
            return (null, e.Message);
        }
    }

    private EntryScope ScopeAt(ulong entry, KernelModule? module)
    {
        var parameters = new Dictionary<string, EntryPlace>(StringComparer.Ordinal);
        foreach (var place in _places.Of(entry) ?? [])
        {
            parameters.TryAdd(place.Variable.Name, place);
        }

        return new EntryScope(_map, _types, parameters, _places.LocalsAt(entry).ToHashSet(StringComparer.Ordinal)) { Entry = entry, Module = module?.Name };
    }

    private void Load(KernelModule? module)
    {
        if (module is not null && !ReferenceEquals(module, _loaded))
        {
            _map.Load(module);
            _types.Forget();
            _loaded = module;
        }
    }
}
