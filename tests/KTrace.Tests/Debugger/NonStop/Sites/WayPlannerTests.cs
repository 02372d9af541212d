using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Conditions;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.NonStop.Sites;

public sealed class WayPlannerTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));
    private static readonly Lazy<TraceableFunctions> Traceable = new(() => TraceableFunctions.Of(Image.Value));

    [Theory]
    [InlineData("schedule", CaptureWay.NonStop, "its entry has the tracer's no-op")]
    [InlineData("schedule return", CaptureWay.NonStop, "its entry has the tracer's no-op")]
    [InlineData("schedule sample 10 first 5", CaptureWay.NonStop, "its entry has the tracer's no-op")]
    [InlineData("schedule+4", CaptureWay.Stop, "a place inside the function")]
    [InlineData("kernel/irq/manage.c:2162", CaptureWay.Stop, "a line inside a function")]
    [InlineData("schedule print 1", CaptureWay.Stop, "print reads the guest's memory as it is at the hit")]
    [InlineData("schedule irqs", CaptureWay.Stop, "irqs reads the interrupt controllers at each hit")]
    [InlineData("schedule return print jiffies", CaptureWay.Stop, "print reads the guest's memory as it is at the return")]
    [InlineData("schedule return if $ret < 0", CaptureWay.Stop, "its return has a condition")]
    [InlineData("schedule return irqs", CaptureWay.Stop, "irqs reads the interrupt controllers at each return")]
    [InlineData("schedule if 1", CaptureWay.Stop, "its condition: it is asked of the guest's memory")]
    [InlineData("__switch_to_asm", CaptureWay.Stop, "assembly")]
    [InlineData("snprintf", CaptureWay.Stop, "lib/vsprintf.c is compiled without the function tracer")]
    public void Each_place_is_traced_in_a_way_for_a_reason(string request, CaptureWay way, string reason)
    {
        var tracepoint = Resolve(request);
        Assert.Equal((way, reason), WayOf(Planner(CaptureOptions.Default), tracepoint));
    }

    [Fact]
    public void An_address_inside_a_function_needs_a_stop() =>
        Assert.Equal((CaptureWay.Stop, "inside schedule, not at its entry"), WayOf(Planner(CaptureOptions.Default), Resolve($"0x{Resolve("schedule").LinkAddress + 9:x}")));

    [Fact]
    public void An_inlined_copy_needs_a_stop() =>
        Assert.Equal((CaptureWay.Stop, "the call was replaced by the function's body"), WayOf(Planner(CaptureOptions.Default), Resolve("request_irq")));

    [Fact]
    public void A_hardware_breakpoint_was_asked_for_as_one() => Assert.Equal(
        (CaptureWay.Stop, "a hardware breakpoint was asked for"), WayOf(Planner(CaptureOptions.Default), Resolve("schedule").WithKind(BreakpointKind.Hardware)));

    [Fact]
    public void What_this_machine_cannot_do_comes_first()
    {
        var planner = Planner(CaptureOptions.Default);
        planner.Refuse("somebody else's QEMU");
        Assert.Equal((CaptureWay.Stop, "somebody else's QEMU"), WayOf(planner, Resolve("schedule")));
    }

    [Fact]
    public void Stops_are_taken_where_they_are_wanted() =>
        Assert.Equal((CaptureWay.Stop, "--stop"), WayOf(Planner(new CaptureOptions { Choice = CaptureChoice.AlwaysStop }), Resolve("schedule")));

    [Theory]
    [InlineData("schedule print 1", "schedule print 1 cannot be traced without stops: print reads", "leave --no-stop out, or this tracepoint")]
    [InlineData("__switch_to_asm", "__switch_to_asm cannot be traced without stops: assembly", "leave --no-stop out, or this tracepoint")]
    [InlineData("irq_set_irq_typ* print 1", "irq_set_irq_type cannot be traced without stops: print reads", "--except irq_set_irq_type")]
    public void Without_stops_what_needs_one_is_refused_by_name(string request, string message, string remedy)
    {
        var tracepoint = Resolve(request);
        var e = Assert.Throws<TargetException>(() => WayOf(Planner(new CaptureOptions { Choice = CaptureChoice.NeverStop }), tracepoint));
        Assert.StartsWith(message, e.Message, StringComparison.Ordinal);
        Assert.Contains(remedy, e.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void A_condition_that_compiles_needs_no_stop_and_one_that_does_not_says_why()
    {
        var compiled = new CompiledCondition("irq == 24", []);
        var planner = new WayPlanner(CaptureOptions.Default, null, Traceable.Value)
        {
            CompileCondition = (_, _, condition) => condition.Text == "irq == 24" ? (compiled, null) : (null, "it calls a function"),
        };
        var yes = Resolve("request_threaded_irq if irq == 24");
        var plan = planner.Plan(yes, yes.Places[0], null);
        Assert.Equal((CaptureWay.NonStop, compiled), (plan.Way, plan.Needs!.Condition));
        Assert.Equal((CaptureWay.Stop, "its condition: it calls a function"), WayOf(planner, Resolve("request_threaded_irq if irq == 25")));
    }

    [Theory]
    [InlineData("reg == 32", CaptureWay.NonStop, "its first instructions are moved (")]
    [InlineData("*(int *)reg == 32", CaptureWay.Stop, "its condition reads memory, which asks for the tracer's no-op")]
    public void Moved_instructions_take_a_condition_on_registers(string condition, CaptureWay way, string reason)
    {
        var planner = new WayPlanner(CaptureOptions.Default, null, Traceable.Value) { CompileCondition = new ConditionCompiler(Image.Value).Compile, RelocateEntry = new EntryRelocation(Image.Value).Plan };
        var (chosen, why) = WayOf(planner, Resolve("native_apic_mem_rea* if " + condition));
        Assert.Equal(way, chosen);
        Assert.Contains(reason, why, StringComparison.Ordinal);
    }

    [Fact]
    public void More_functions_of_a_pattern_than_a_stub_bears_may_not_need_stops()
    {
        using var modules = new ModuleFiles([]);
        var tracepoints = new TracepointResolver(Image.Value, modules) { Capture = CaptureChoice.Auto }.Resolve(["@pci if 1"]);
        var planner = Planner(CaptureOptions.Default);
        var e = Assert.Throws<TargetException>(() => tracepoints.Select(t => planner.Plan(t, t.Places[0], null)).ToList());
        Assert.StartsWith("@pci if 1: more than 256 of its functions need stops: its condition", e.Message, StringComparison.Ordinal);
    }

    private static WayPlanner Planner(CaptureOptions options) => new(options, null, Traceable.Value);

    private static (CaptureWay Way, string Reason) WayOf(WayPlanner planner, Tracepoint tracepoint)
    {
        var plan = planner.Plan(tracepoint, tracepoint.Places[0], null);
        return (plan.Way, plan.Reason);
    }

    private static Tracepoint Resolve(string request)
    {
        using var modules = new ModuleFiles([]);
        return new TracepointResolver(Image.Value, modules).Resolve([request])[0];
    }
}
