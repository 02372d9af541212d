// Boots a scenario, stops wherever a driver asks for an interrupt above 23, prints what it asks for and how it came there, and lets the guest run to its end.
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Sessions;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;

var boot = await PreparedBoot.PrepareAsync(ScenarioReader.ReadFile(args[0]), new KernelStore());
await using var qemu = await QemuProcess.StartAsync(boot.CommandLine);
using var modules = new ModuleFiles([boot.Kernel!.ModulesDirectory!, boot.Kernel.DebugModulesDirectory!]);
await using var target = await KernelTarget.BootAsync(
    RspEndpoint.Parse("unix:" + qemu.GdbSocket), KernelImage.Open(boot.Kernel.Vmlinux!), new MachineOptions { RamFile = qemu.RamFile }, null, default);
await using var session = await DebugSession.StartAsync(target, modules);

await session.Breakpoints.AddAsync("request_threaded_irq if irq > 23", new(), default);
while (await session.ContinueAsync() is SessionStop.Stopped)
{
    Console.WriteLine($"irq {(await session.PrintAsync("irq")).Text} for {(await session.PrintAsync("devname")).Text}");
    foreach (var frame in (await session.CallPathAsync()).Path.Frames)
    {
        Console.WriteLine($"    {frame.Function}  {frame.File}:{frame.Line}");
    }
}

Console.WriteLine(session.LastStop);
